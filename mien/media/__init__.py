"""Sound and picture files: read, write, provenance."""
