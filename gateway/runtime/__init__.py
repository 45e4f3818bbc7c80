"""What lives between start and stop: the service, reloads, signals, accounting."""
