"""Scores that targets have given before, and where they are kept."""
