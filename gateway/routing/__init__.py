"""A configuration becomes live routes."""
