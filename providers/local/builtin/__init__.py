"""The models that come with the gateway: which there are, where they are, and how one is fetched and converted.

Importing this package, `catalogue` or `store` imports nothing heavy; `install` brings numpy.
"""
