"""Ordinary GET routes: health, models, metrics, status, usage."""
