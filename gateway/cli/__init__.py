"""One file per command: `add_to` declares its arguments, `run` executes it and returns the exit status."""
