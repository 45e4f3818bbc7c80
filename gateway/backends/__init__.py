"""Whatever ranks by itself: a provider over HTTP, a local model, the engine process, or a pure function."""
