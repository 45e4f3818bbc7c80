"""From a configuration to listening processes."""
