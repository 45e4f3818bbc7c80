"""The engine for models in this process. Imports nothing heavy before a model is opened."""
