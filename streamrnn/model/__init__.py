"""What a network is: immutable, shared by every stream."""

from .layers import ActivationSpec, DenseSpec, EmbeddingSpec, LayerSpec, NormSpec
from .model import Model
from .spec import ModelSpec

__all__ = ["ActivationSpec", "DenseSpec", "EmbeddingSpec", "LayerSpec", "Model", "ModelSpec", "NormSpec"]
