"""Where the joules went: why two numbers of one piece of work differ."""
