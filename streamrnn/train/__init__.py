"""Training: from recordings of streams to a model, with PyTorch (extra `train`), which is imported when it is used.

>>> from streamrnn.train import Recording, Settings, fit, read_recordings
"""

from .fit import Fitted, Interrupted, fit
from .read import Names, read_recordings
from .recording import Recording
from .settings import Settings

__all__ = ["Fitted", "Interrupted", "Names", "Recording", "Settings", "fit", "read_recordings"]
