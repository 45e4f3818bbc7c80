"""What several vendors say alike, written once: optional fields, rows of results, error bodies."""
