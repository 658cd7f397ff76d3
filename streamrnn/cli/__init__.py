"""The command line: one small file a command, registered here.

Commands import what they need when they run, so that `streamrnn --help` and the commands that only talk to a
daemon start without Numba. What is wrong is one line on stderr. The exit status is 2 where it can be mended in the
command, in the files it names, or in what is installed; 1 where something failed while running; 130 after Ctrl-C. The
kind of the error decides, so that the same fault gives the same status in every command (docs/operations.md).
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence

import typer

from ..errors import StaleHandle, StreamRNNError, Timeout, UnknownStream
from . import bench, bring, ctl, demo, info, publish, score, serve, simulate, train, watch

__all__ = ["app", "run", "status_of"]

_RUNNING = (Timeout, UnknownStream, StaleHandle)
"""Errors of something that runs, and not of what was asked."""

_NAMED = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What the system says of a file that was named wrongly; a full disk is none of them."""

app = typer.Typer(
    name="streamrnn",
    help="One recurrent state per live stream, one step per sample.",
    epilog="New here? Try: streamrnn demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(demo.demo)
app.command()(serve.serve)
app.command()(publish.publish)
app.command()(watch.watch)
app.command()(score.score)
app.command()(simulate.simulate)
app.command("import")(bring.bring)
app.command()(train.train)
app.command()(info.info)
app.command()(bench.bench)
app.add_typer(ctl.ctl, name="ctl")

for _registered in [*app.registered_commands, *ctl.ctl.registered_commands]:
    # A line for each paragraph: the terminal breaks it where it ends, and not where the source did.
    _registered.help = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(_registered.callback) or "")


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(f"streamrnn {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """One recurrent state per live stream, one step per sample."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on `arguments` (the process's own by default) and return the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = app(args=words, prog_name="streamrnn", standalone_mode=False, obj=words)
    except KeyboardInterrupt:
        return 130
    except typer.Abort:
        return 130
    except StreamRNNError as error:
        return _fail(str(error), status_of(error))
    except OSError as error:
        return _fail(_reason(error), status_of(error))
    except Exception as error:
        # Typer's usage errors have no public base class; what they share is how they are shown.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        context = getattr(error, "ctx", None)
        command = _command(words) if context is None else context.command_path
        given = _given(getattr(error, "param", None), words)
        return _fail(f"{_worded(message(), given)} (see {command} --help)".replace("\n", " "), 2)
    return status if isinstance(status, int) else 0


def status_of(error: Exception) -> int:
    """The exit status that an error ends a command with: 2 for what can be mended before it is run again, else 1.

    >>> status_of(FileNotFoundError()), status_of(Timeout())
    (2, 1)
    """
    if isinstance(error, OSError) and not isinstance(error, StreamRNNError):
        return 2 if isinstance(error, _NAMED) else 1
    # The base class itself is raised where a daemon or a feed went wrong.
    return 1 if type(error) is StreamRNNError or isinstance(error, _RUNNING) else 2


def _command(words: Sequence[str]) -> str:
    """The command that `words` name, for errors that do not know it: an option without its value."""
    at, path = typer.main.get_command(app), ["streamrnn"]
    for word in words:
        known = getattr(at, "commands", {})
        if word not in known:
            break
        at = known[word]
        path.append(word)
    return " ".join(path)


def _given(option: object, arguments: Sequence[str]) -> str | None:
    """The text that was given for an option; None where it cannot be told."""
    for name in getattr(option, "opts", ()):
        for i, argument in enumerate(arguments):
            if argument.startswith(f"{name}="):
                return argument.partition("=")[2]
            if argument == name and i + 1 < len(arguments):
                return arguments[i + 1]
    return None


def _worded(message: str, given: str | None) -> str:
    """A usage error with the value in question, which the libraries below leave out in some versions."""
    what, colon, wrong = message.partition(": ")
    if not colon or given is None or given in message:
        return message
    reason = re.sub(r"^Input should be ([^,]*).*$", r"it must be \1", wrong)
    return f"{what}: {given!r}; {reason}"


def _fail(message: str, status: int) -> int:
    print(f"streamrnn: {message}", file=sys.stderr)
    return status


def _reason(error: OSError) -> str:
    if error.filename is not None and error.strerror is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error.strerror or error)
