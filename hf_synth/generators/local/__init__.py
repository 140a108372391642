"""Text from a Hugging Face model on this machine."""

from .generator import LocalGenerator

__all__ = ["LocalGenerator"]
