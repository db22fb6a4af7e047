"""Baselines: the stored sessions, one reviewed JSON file per GPU SKU."""
