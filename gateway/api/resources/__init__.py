"""Ordinary GET routes: health, models, metrics, status, usage, and what some clients ask before they rerank."""
