"""What a network is: immutable, shared by every stream."""

from .layers import ActivationSpec, DenseSpec, LayerSpec, NormSpec
from .model import Model
from .spec import ModelSpec

__all__ = ["ActivationSpec", "DenseSpec", "LayerSpec", "Model", "ModelSpec", "NormSpec"]
