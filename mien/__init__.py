"""mien."""
