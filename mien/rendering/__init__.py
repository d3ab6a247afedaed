"""From face motion to frames."""
