"""What a configuration is, one file per section of the YAML, and how it is read and checked."""
