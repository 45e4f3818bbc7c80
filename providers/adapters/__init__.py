"""One module per vendor or server, each a PROVIDER made of pure functions."""
