"""The engine for models in this process.

`loading` opens a model as an `engine.Engine`. The engine puts texts into a `queue`, and a `batcher` takes
them out in batches and has the `model` compute them.

Importing this package imports neither torch nor the Hugging Face libraries: `loading` and `model` do.
"""
