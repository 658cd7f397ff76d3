"""What happens in a demo, as people see it: the board, the log of faults and flags, the summary."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..simulate import Fault
from .board import Board, duration, quantity
from .scenes import Scene
from .session import Answer
from .tally import GRACE_NS, Tally, percentiles_us

__all__ = ["Story"]

MARK_SECONDS = 0.5
"""Time (of the demo, not of the feed) that one character of a sparkline covers."""

RECENT = 2000
"""Samples that the latencies in the heading are of."""


class Story:
    """Takes the daemon's answers to a `scene` of `seconds`, judges them, and tells of them."""

    def __init__(self, scene: Scene, seconds: float) -> None:
        self.scene = scene
        self.seconds = seconds
        self.tally = Tally(scene.faults)
        per_stream = scene.count / scene.streams / seconds
        self.board = Board(scene.channels, scene.units, max(1, round(per_stream * MARK_SECONDS)))
        self._begun: set[Fault] = set()
        self._ended: set[Fault] = set()

    def take(self, answer: Answer) -> None:
        """Take in one answer: to the board, the tally and, if it raised a flag, the log."""
        output = answer.output
        in_daemon = (output.sent or 0) - (output.recv or 0)
        self.tally.sample(output.t, len(output.missing), answer.round_trip_ns, in_daemon)
        if self.board.add(output.stream, answer.x, output.score, output.flag, output.cause, output.t):
            self._tell_faults()
            self._tell_flag(output.stream, output.t, output.cause)

    def tell(self) -> None:
        """Log the faults that have begun by now, and those that have passed unnoticed."""
        self._tell_faults()
        for fault in self.tally.injected:
            if fault.end_ns + GRACE_NS < self.tally.played_to and fault not in self._ended:
                self._ended.add(fault)
                if fault not in self.tally.found:
                    self._log(fault.end_ns + GRACE_NS, fault.stream, f"✗ {fault.kind} missed", "yellow")

    def heading(self, played: float) -> RenderableType:
        """Two lines: what is played and how far it is; what came of it so far."""
        tally = self.tally
        played = min(played, self.seconds)
        top = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(4):
            top.add_column(no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total=self.seconds, completed=played, width=16, complete_style="cyan", finished_style="cyan")
        top.add_row(
            Text("streamrnn", "bold"), self.scene.title, bar, Text(f"{played:.0f} of {self.seconds:.0f} s", "dim")
        )
        latency = percentiles_us(tally.round_trip[-RECENT:])
        top_and_line = Table.grid()
        top_and_line.add_row(top)
        top_and_line.add_row(
            Text.assemble(
                (quantity(tally.samples), "bold"),
                " samples  ",
                self._verdict(),  # before what a narrow terminal may cut
                f"  {quantity(tally.samples / max(played, 0.1))}/s  ",
                (duration(latency["p50"]), "bold"),
                f" p50  {duration(latency['p99'])} p99",
                no_wrap=True,
                overflow="ellipsis",
            )
        )
        return top_and_line

    def summary(self, played: float) -> dict[str, Any]:
        """The tally, how many streams there were, and how fast samples came, ready for JSON."""
        return {
            **self.tally.summary(),
            "streams": len(self.board.lanes),
            "seconds": round(played, 2),
            "samples_per_s": round(self.tally.samples / played, 1) if played else 0.0,
        }

    def epilogue(self, played: float) -> RenderableType:
        """The summary for people."""
        tally, facts = self.tally, self.summary(played)
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_row(
            "samples",
            f"{quantity(tally.samples)} of {facts['streams']} streams in {played:.0f} s: "
            f"{quantity(facts['samples_per_s'])} a second",
        )
        if tally.known:
            kinds = ", ".join(f"{kind} {n['found']}/{n['injected']}" for kind, n in facts["by_kind"].items())
            found = f"{facts['found']} of {facts['injected']} found"
            table.add_row("faults", f"{found}: {kinds}" if kinds else "none was injected; let it play longer")
            blamed = ", ".join(f"{channel} {n}" for channel, n in tally.blamed.most_common())
            false = f"{tally.flags}, of which {tally.false_flags} false"
            table.add_row("flags", f"{false}: {blamed}" if blamed else false)
            if tally.false_flags and self.scene.note:
                table.add_row("", self.scene.note)
        else:
            table.add_row("flags", f"{tally.flags} (nobody knows the true faults of a recording)")
        whole, inside = facts["latency_us"], facts["daemon_us"]
        table.add_row(
            "latency", f"{duration(whole['p50'])} p50, {duration(whole['p99'])} p99 from publisher to subscriber"
        )
        table.add_row("", f"{duration(inside['p50'])} p50, {duration(inside['p99'])} p99 of it inside the daemon")
        return table

    def _verdict(self) -> Text:
        tally = self.tally
        if not tally.known:
            return Text(f"flags {tally.flags}")
        return Text.assemble(
            "faults found ",
            (f"{len(tally.found)} of {len(tally.injected)}", "bold green"),
            (f"  {tally.false_flags} false", "bold yellow" if tally.false_flags else ""),
        )

    def _tell_faults(self) -> None:
        for fault in self.tally.injected:
            if fault not in self._begun:
                self._begun.add(fault)
                self._log(fault.start_ns, fault.stream, f"  {fault.kind} injected", "dim")

    def _tell_flag(self, stream: str, t: int, cause: str | None) -> None:
        alarm = self.tally.raised(stream, t, cause)
        line = self._log(t, stream, f"▲ {cause or 'flagged'}", "bold red")
        if alarm.first and alarm.fault is not None:
            after = max(0.0, (t - alarm.fault.start_ns) / 1e9)
            line.append(f"  found the {alarm.fault.kind} after {after:.0f} s", "green")
        elif alarm.fault is not None:
            line.append(f"  the same {alarm.fault.kind}", "dim")
        elif self.tally.known:
            line.append("  false: nothing was injected", "yellow")

    def _log(self, t: int, stream: str, what: str, style: str) -> Text:
        """A new line of the log: time since the feed's beginning as minutes and seconds, stream, what happened."""
        minutes, seconds = divmod(max(0, t - self.scene.start_ns) // 1_000_000_000, 60)
        line = Text.assemble((f"{minutes:02d}:{seconds:02d} ", "dim"), f"{stream} ", (what, style))
        self.board.log.append(line)
        return line
