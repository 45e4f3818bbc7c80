"""One file per command: `add_to` says its grammar, `run` does it and returns the exit status."""
