"""Published measurements: reading and keeping them, naming one, and what they come to beside one's own."""
