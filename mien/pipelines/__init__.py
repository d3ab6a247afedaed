"""Whole jobs, one per verb: only here is the order of the stages known."""
