"""What a network is: immutable, shared by every stream."""

from .model import Model
from .spec import LayerSpec, ModelSpec

__all__ = ["LayerSpec", "Model", "ModelSpec"]
