"""A running server: its metrics, its steady state, its processes, and a load for it."""
