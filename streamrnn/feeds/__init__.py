"""Files as feeds: the columns, cells and times of CSV files. Below everything that reads one: commands, and training."""

from .csvfile import STDIN, Layout, Recording, Row

__all__ = ["STDIN", "Layout", "Recording", "Row"]
