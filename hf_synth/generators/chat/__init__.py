"""Text from any OpenAI-compatible endpoint or Inference Provider."""

from .generator import ChatGenerator

__all__ = ["ChatGenerator"]
