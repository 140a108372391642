"""Text from a Hugging Face model on this machine."""

from .generator import LocalGenerator
from .processor import best_device

__all__ = ["LocalGenerator", "best_device"]
