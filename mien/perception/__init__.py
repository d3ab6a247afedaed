"""From media to meaning: what is said, and how a face moves."""
