"""Networks of other libraries as models: read, compared with the original, and given what the source does not say.

    torch.py     modules, state dicts (.pt, .safetensors)
    onnx.py      .onnx
    keras.py     models, .keras, .h5

Each makes a chain of `parts.Part`. The libraries are imported when they are needed; a message names what to install.
"""

from __future__ import annotations

from .finish import Metadata, finish
from .parts import Source

__all__ = ["Metadata", "Source", "finish"]
