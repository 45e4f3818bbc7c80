"""Configurations of other gateways, read and written as one of ours."""
