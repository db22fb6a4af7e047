"""Meters: sources of cumulative joules for a set of devices."""
