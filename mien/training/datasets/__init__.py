"""Recorded data in the layouts their publishers chose, read safely and memory-mapped."""
