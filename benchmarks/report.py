"""Tables and plots of docs/benchmarks.md, from the figures in benchmarks/results/.

    python benchmarks/report.py

Each results/NAME.json has the shape that `streamrnn.measure.Report` describes. What stands in the document between
`<!-- begin NAME -->` and `<!-- end NAME -->` is written anew; everything else there is by hand. A benchmark without
results leaves its parts as they are, and is named. Plots need matplotlib, and are left as they are without it.

Rows that are read here, by benchmark and question (their units and parameters are where they are measured):

    kernels    ceilings, step, tile, batch, call, scoring, hidden, layers, streams, threads, speedup, adaptive
    peers      single, many, stac
    memory     base, stream, held
    start      start
    wire       open (us; rate in samples/s and q, the percentile) for the plot; each question, throughput, light, open,
               soak, blocks and any other, becomes a table of its own, with a column for each parameter
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
DOCS = FOLDER.parent / "docs"
DOCUMENT = DOCS / "benchmarks.md"

Row = dict[str, Any]
Results = dict[str, Any]
_OF_EVERY_ROW = ("question", "name", "unit", "median", "low", "high", "rounds")


def rows(results: Results, question: str, **parameters: Any) -> list[Row]:
    """The rows of a question whose parameters are these."""
    found = [r for r in results["rows"] if r["question"] == question]
    return [r for r in found if all(r.get(k) == v for k, v in parameters.items())]


def number(value: float) -> str:
    """Three significant digits, and thousands apart."""
    if value >= 100:
        digits = max(0, len(str(int(value))) - 3)
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table, its first column to the left and the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines))


def by_hidden(found: Sequence[Row], value: Callable[[Row], str] = lambda r: number(r["median"])) -> str:
    """A row a name, a column a hidden size."""
    sizes = sorted({r["hidden"] for r in found})
    names = list(dict.fromkeys(r["name"] for r in found))
    at = {(r["name"], r["hidden"]): value(r) for r in found}
    return markdown(
        ["", *(f"H={h}" for h in sizes)], [[name, *(at.get((name, h), "") for h in sizes)] for name in names]
    )


def about(results: Results) -> str:
    """On what and when, in a line."""
    on, packages = results["machine"], ", ".join(f"{k} {v}" for k, v in results["versions"].items() if v)
    gib = (on["memory_bytes"] or 0) / 2**30
    line = f"{on['cpu']}, {on['cores']} cores, {gib:.0f} GiB, {on['system']}, Python {on['python']}; {packages}. "
    line += f"Measured {results['when']}, load {on['load']:.1f} when it began."
    return "\n".join([line, *(f"\n{note}" for note in results["notes"])])


def with_ceiling(r: Row) -> str:
    return f"{number(r['median'])} ({100 * r['of_ceiling']:.0f} % of {r['ceiling']})"


def ratios(peers: Results) -> str:
    """How many times longer each peer takes than ours, by hidden size."""
    lines = []
    sizes = sorted({r["hidden"] for r in peers["rows"] if "hidden" in r})
    compared = (
        ("single", "streamrnn engine.step", ""),
        ("many", "streamrnn step_many, no detector", ", no detector"),
        ("many", "streamrnn step_many", ", with score"),
    )
    for question, ours, how in compared:
        mine = {r["hidden"]: r["median"] for r in rows(peers, question, name=ours)}
        theirs = [r for r in rows(peers, question) if not r["name"].startswith("streamrnn")]
        for name in dict.fromkeys(r["name"] for r in theirs):
            at = {r["hidden"]: r["median"] / mine[r["hidden"]] for r in theirs if r["name"] == name}
            streams = theirs[0]["streams"]
            lines.append([f"{name}, {streams:,}{how}", *(f"{at[h]:.2f}x" if h in at else "" for h in sizes)])
        best = {h: min((r["median"] for r in theirs if r["hidden"] == h), default=0) for h in mine}
        cells = (f"**{best[h] / mine[h]:.2f}x**" if best.get(h) else "" for h in sizes)
        lines.append([f"**the best of them, {theirs[0]['streams']:,}{how}**", *cells] if theirs else [])
    return markdown(["peer, streams", *(f"H={h}" for h in sizes)], [line for line in lines if line])


def stac_table(peers: Results) -> str:
    lines = []
    for p50 in rows(peers, "stac", percentile=50):
        (p99,) = rows(peers, "stac", percentile=99, name=p50["name"], shape=p50["shape"])
        rate = p50["weight_bytes"] / p50["median"]
        times = [number(r["median"] / 1e3) for r in (p50, p99)]
        lines.append([f"{p50['shape']}, {p50['name']}", *times, number(rate)])
    return markdown(["", "p50, µs", "p99, µs", "weights, GB/s"], lines)


def flop_rates(kernels: Results) -> str:
    """The rate of each cell by that of the LSTM of the same size."""
    found = rows(kernels, "tile")
    lstm = {r["hidden"]: r["gflops"] for r in found if r["name"] == "lstm"}
    return by_hidden(found, lambda r: f"{r['gflops']:.0f} ({100 * r['gflops'] / lstm[r['hidden']]:.0f} %)")


def listed(found: Sequence[Row]) -> str:
    """Any rows: name, parameters, median and quartiles."""
    keys = list(dict.fromkeys(k for r in found for k in r if k not in _OF_EVERY_ROW))
    lines = []
    for r in found:
        values = (r.get(k, "") for k in keys)
        cells = [v if isinstance(v, str) else f"{v:,}" if isinstance(v, int) else number(v) for v in values]
        spread = f"{number(r['low'])} to {number(r['high'])}" if r["rounds"] > 1 else ""
        lines.append([r["name"], *cells, f"{number(r['median'])} {r['unit'].replace('us', 'µs')}", spread])
    return markdown(["", *keys, "median", "quartiles"], lines)


def wire_tables(wire: Results) -> str:
    questions = dict.fromkeys(r["question"] for r in wire["rows"])
    tables = [f"**{q.replace('_', ' ')}**\n\n{listed(rows(wire, q))}" for q in questions]
    curve = ["![Latency by the rate of samples](benchmarks-rate.png)"] if "open" in questions else []
    return "\n\n".join([*tables, *curve, about(wire)])


SECTIONS: dict[str, tuple[str, Callable[[Results], str]]] = {
    "machine": ("kernels", about),
    "ceilings": ("kernels", lambda r: listed(rows(r, "ceilings"))),
    "step": ("kernels", lambda r: by_hidden(rows(r, "step"), with_ceiling)),
    "tile": ("kernels", lambda r: by_hidden(rows(r, "tile"), with_ceiling)),
    "cells": ("kernels", flop_rates),
    "batch": ("kernels", lambda r: by_hidden(rows(r, "batch"))),
    "call": ("kernels", lambda r: by_hidden(rows(r, "call"))),
    "scoring": ("kernels", lambda r: listed(rows(r, "scoring"))),
    "growth": ("kernels", lambda r: listed([*rows(r, "hidden"), *rows(r, "layers"), *rows(r, "streams")])),
    "threads": ("kernels", lambda r: listed([*rows(r, "threads"), *rows(r, "speedup")])),
    "adaptive": ("kernels", lambda r: listed(rows(r, "adaptive"))),
    "peers-machine": ("peers", about),
    "single": ("peers", lambda r: by_hidden(rows(r, "single"))),
    "many": ("peers", lambda r: by_hidden(rows(r, "many"))),
    "ratios": ("peers", ratios),
    "stac": ("peers", stac_table),
    "memory": ("memory", lambda r: f"{listed([*rows(r, 'stream'), *rows(r, 'base')])}\n\n{about(r)}"),
    "start": ("start", lambda r: f"{listed(rows(r, 'start'))}\n\n{about(r)}"),
    "wire": ("wire", wire_tables),
}
"""By the name of a part of the document: the benchmark, and what it writes there."""


def plots(results: dict[str, Results]) -> list[Path]:
    """Draw what grows: with hidden size, with streams, with the rate of samples."""
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is not installed, so the plots stay as they are: pip install -e '.[bench]'")
        return []
    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn = []

    def draw(name: str, title: str, x_label: str, y_label: str, lines: dict[str, list[tuple[float, Row]]]) -> None:
        figure, axes = pyplot.subplots(figsize=(7, 4.2), dpi=110)
        for label, points in lines.items():
            points.sort(key=lambda p: p[0])
            xs, found = [p[0] for p in points], [p[1] for p in points]
            (line,) = axes.plot(xs, [r["median"] for r in found], marker="o", markersize=3.5, label=label)
            axes.fill_between(
                xs, [r["low"] for r in found], [r["high"] for r in found], alpha=0.2, color=line.get_color(), lw=0
            )
        axes.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label, title=title)
        axes.grid(visible=True, which="both", alpha=0.25)
        axes.legend(frameon=False)
        figure.tight_layout()
        path = DOCS / f"benchmarks-{name}.png"
        figure.savefig(path, metadata={"Software": None})
        pyplot.close(figure)
        drawn.append(path)

    if kernels := results.get("kernels"):
        labels = {"bare": "one stream, layers alone", "batch": "step_many, 1,024 streams"}
        lines = {text: [(r["hidden"], r) for r in rows(kernels, "hidden", name=n)] for n, text in labels.items()}
        if any(lines.values()):
            draw("hidden", "A step of an LSTM by its size", "hidden size", "ns a sample", lines)
        points = [(r["streams"], r) for r in rows(kernels, "streams")]
        if points:
            draw("streams", "step_many, LSTM-32, shuffled", "streams", "ns a sample", {"1,024 a call": points})
    if (wire := results.get("wire")) and (found := rows(wire, "open")):
        curves: dict[str, list[tuple[float, Row]]] = {}
        for r in found:
            curves.setdefault(f"{r['name']}, p{r['q']:g}", []).append((r["rate"], r))
        draw("rate", "Latency by the rate of samples", "samples a second", "µs", curves)
    return drawn


def replaced(document: str, name: str, text: str) -> str:
    """The document with another text between a part's marks; ValueError where it has none."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{DOCUMENT.name} has no marks {begin.strip()} and {end}")
    return f"{before}{begin}{text}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the figures")
    args = parser.parse_args()
    results = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted(args.results.glob("*.json"))}
    needed = list(dict.fromkeys(benchmark for benchmark, _ in SECTIONS.values()))
    for benchmark in needed:
        if benchmark not in results:
            print(f"no results of {benchmark}, so its parts stay as they are: python benchmarks/{benchmark}.py")
    document = DOCUMENT.read_text(encoding="utf-8")
    for name, (benchmark, text) in SECTIONS.items():
        if benchmark in results:
            document = replaced(document, name, text(results[benchmark]))
    DOCUMENT.write_text(document, encoding="utf-8")
    for path in plots(results):
        print(path.name)
    if not results:
        sys.exit("there are no results: python benchmarks/run_all.py")


if __name__ == "__main__":
    main()
