from tiny_models import build

__all__ = ["build"]
