"""What is looked at before a training begins: that it can end well, and that nothing is lost by it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import ConfigError

__all__ = ["check_apart", "check_folder", "check_kept"]


def check_folder(folder: Path) -> None:
    """ConfigError where checkpoints could not be written: hours of training would end in that."""
    above = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
    try:
        with TemporaryDirectory(prefix=".streamrnn-", dir=above):
            pass
    except OSError as error:
        raise ConfigError(f"--work {folder} cannot be written ({error.strerror}); name another folder") from None


def check_kept(folder: Path) -> None:
    """ConfigError where an earlier run left what it had learned: the first epoch of this one would replace it."""
    from ..train.checkpoint import NAME

    if (folder / NAME).exists():
        raise ConfigError(
            f"{folder / NAME} is of an earlier run: --resume goes on with it, --force begins anew and replaces it; or "
            "name another folder with --work"
        )


def check_apart(inputs: list[Path]) -> None:
    """ConfigError for a file that is given twice, say to train and to test: what was learned by heart proves little."""
    seen: set[Path] = set()
    for path in inputs:
        whole = path.resolve()
        if whole in seen:
            raise ConfigError(
                f"{path} is given twice; each recording belongs to one of training, --validation and --test, or the "
                "figures would be of what was learned by heart: leave it out of all but one"
            )
        seen.add(whole)
