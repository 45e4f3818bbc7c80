"""Policies: each file is one Backend wrapped around another. `gateway.routing.stack` composes them."""
