from tiny_models import build
from tiny_wheel import models_folder, tiny_wheel

__all__ = ["build", "models_folder", "tiny_wheel"]
