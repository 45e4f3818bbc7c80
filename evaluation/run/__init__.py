"""Ask models, and keep every answer on disk."""
