"""ASGI middleware, which sees every request before its route does."""
