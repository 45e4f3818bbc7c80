"""Policies: each file is one Backend wrapped around another, with its own settings. `gateway.routing` composes them."""
