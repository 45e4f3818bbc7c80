"""The lower layer: canonical types, errors, the adapter contract, the adapters and the local engine."""
