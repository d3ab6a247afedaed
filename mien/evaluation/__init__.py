"""What was made, measured."""
