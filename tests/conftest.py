"""Lies here so that tests in any folder can import the helpers that stand beside it."""
