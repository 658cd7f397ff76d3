"""Files as feeds: the columns, cells and times of CSV files, for commands and for training."""

from .csvfile import STDIN, Layout, Recording, Row

__all__ = ["STDIN", "Layout", "Recording", "Row"]
