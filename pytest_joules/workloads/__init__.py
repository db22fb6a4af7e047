"""What a call produced, and when the device had finished it."""
