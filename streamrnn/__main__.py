"""The command `streamrnn`, also as `python -m streamrnn`.

Where only what a client needs is installed there is no command line; this says so in one line.
"""

from __future__ import annotations

import sys

from .errors import StreamRNNError, not_installed

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        from .cli import run  # noqa: PLC0415 - what is not installed is told below

        status = run()
    except ModuleNotFoundError as error:
        missing: StreamRNNError | None = not_installed("the command streamrnn", error)
        if missing is None:
            raise
        print(f"streamrnn: {missing}", file=sys.stderr)
        status = 2  # mended by an installation, as cli.status_of has it
    sys.exit(status)


if __name__ == "__main__":
    main()
