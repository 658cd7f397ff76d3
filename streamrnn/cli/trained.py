"""What `streamrnn train` shows: a bar while it trains, and what came of it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .figures import legend
from .notice import count, say

if TYPE_CHECKING:
    from ..train import Fitted, Settings
    from ..train.trainer import Progress

__all__ = ["tell", "training_bar"]


@contextmanager
def training_bar(settings: Settings) -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr with epoch, losses, rate and time left; where stderr is no terminal, a line an epoch."""
    if not sys.stderr.isatty():
        yield lambda p: _say(p, settings)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[facts]}"), TimeRemainingColumn())
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("training", total=settings.seeds, facts="")
        validation = math.nan

        def progress(p: Progress) -> None:
            nonlocal validation
            validation = p.validation if math.isfinite(p.validation) else validation
            done = p.seed - settings.seed + (1.0 if p.ended else p.share)
            bar.update(task, description=_where(p, settings), completed=done, facts=_facts(p, validation))
            for note in p.notes:
                console.print(f"streamrnn: {note}", highlight=False)

        yield progress


def _where(p: Progress, settings: Settings) -> str:
    return f"{f'seed {p.seed}, ' if settings.seeds > 1 else ''}epoch {p.epoch} of {p.epochs}"


def _facts(p: Progress, validation: float) -> str:
    shown = {"loss": p.loss, "validation": validation, "best": p.best}
    return ", ".join(f"{k} {v:.4g}" for k, v in shown.items() if math.isfinite(v)) + f", rate {p.rate:.2g}"


def _say(p: Progress, settings: Settings) -> None:
    """What was unexpected, and how far it is at the end of an epoch."""
    for note in p.notes:
        say(note)
    if math.isfinite(p.validation) and (p.ended or told(p.epoch)):
        say(f"{_where(p, settings)}: {_facts(p, p.validation)}")


def told(epoch: int) -> bool:
    """Whether an epoch gets a line: all up to 100, then those of two digits and zeros, 90 for ten times as many.

    >>> [n for n in range(1, 1_000_000) if told(n)][98:104]
    [99, 100, 110, 120, 130, 140]
    """
    return not str(epoch)[2:].strip("0")


def tell(fitted: Fitted) -> None:
    """The report in a few lines."""
    from .info import parity_words

    report, spec = fitted.report, fitted.model.spec
    print(f"{report['model']}: {spec.head}, {spec.n_in} in, {spec.n_out} out, {fitted.model.parameters:,} parameters")
    for layer in spec.layers:
        print(f"  {layer}")
    print(f"split {report['split']}")
    _tell_missing(report["missing"])
    loss = spec.provenance["settings"]["loss"]
    for seed in report["seeds"]:
        back = f", went back {count(seed['went_back'], 'time')}" if seed["went_back"] else ""
        print(
            f"seed {seed['seed']}: {count(seed['epochs'], 'epoch')} ({seed['ended']}), "
            f"{100 * seed['clipped']:.0f} % of steps clipped{back}; best epoch {seed['best_epoch']}, "
            f"validation loss {seed['validation_loss']:.4g} ({loss}; less is better)"
        )
    if "validation_loss_sd" in report:
        mean, sd = report["validation_loss_mean"], report["validation_loss_sd"]
        print(f"over seeds: {mean:.4g} ± {sd:.2g}; seed {report['seed']} is kept")
    for part in ("validation", "test"):
        _tell_measures(part, report[part])
    print("\n".join(["the figures:", *legend(report["validation"], report["test"])]))
    if "false_alarms" in report:
        _tell_alarms(report["false_alarms"])
    print(parity_words(report["parity"]))
    for note in report["notes"]:
        say(note)


def _tell_missing(found: dict[str, Any]) -> None:
    rows = found["samples"]
    shares = [f"{name} {n:,} ({100 * n / rows:.2g} %)" for name, n in found["channels"].items()]
    if shares:
        print(f"missing, of {rows:,} samples: {', '.join(shares)}")


def _tell_measures(part: str, found: dict[str, Any]) -> None:
    if not found:
        print(f"{part}: no data")
        return
    plain = ", ".join(f"{k} {_shown(v)}" for k, v in found.items() if not isinstance(v, dict))
    print(f"{part}: {plain}")
    for group in ("channels", "classes", "targets"):
        for name, values in found.get(group, {}).items():
            print(f"  {name}: " + ", ".join(f"{k} {_shown(v)}" for k, v in values.items()))


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def _tell_alarms(found: dict[str, Any]) -> None:
    print(f"threshold {found['threshold']:g} for {found['stated']:g} false alarms {found['per']}:")
    if not found["reached"]:
        print("  no threshold raises as many on validation data; this is the highest that raises the most")
    for part, name in (("validation", "validation"), ("test", "test"), ("test_at_default", "test, threshold 1")):
        facts = found[part]
        if facts:
            print(
                f"  {name}: {facts['alarms']} in {facts['exposure']:.4g} {facts['unit']}, {facts['rate']:.3g} each "
                f"(95 %: {facts['rate_low']:.3g} to {facts['rate_high']:.3g}), flagged {100 * facts['flagged']:.3g} % "
                "of the time"
            )
