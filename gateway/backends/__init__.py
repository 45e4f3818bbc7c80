"""Everything that can rank by itself: a provider over HTTP, a local model, the engine process, a pure function."""
