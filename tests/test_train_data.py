"""Recordings: files read, splits that do not leak, scales of training data alone, batches in which nothing is lost."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import echoes, waves

from streamrnn.errors import ConfigError, Malformed
from streamrnn.train import Recording, Settings, read_recordings
from streamrnn.train.ready import make_ready
from streamrnn.train.scaling import scaling_of, steps_of
from streamrnn.train.split import cut_gaps, long_steps, split

CSV = "time_s,hr,note,spo2\n0,80,N,97\n1,,V,98\n2,82,,99\n"


def test_a_file_is_a_stream(tmp_path):
    (tmp_path / "bed1.csv").write_text(CSV)
    with gzip.open(tmp_path / "bed2.csv.gz", "wt") as file:
        file.write(CSV)
    files = [tmp_path / "bed1.csv", tmp_path / "bed2.csv.gz"]
    recordings, names = read_recordings(files, label="note")
    assert [r.stream for r in recordings] == ["bed1", "bed2"]
    assert (names.channels, names.classes) == (("hr", "spo2"), ("N", "V"))
    first = recordings[0]
    assert np.isnan(first.x[1, 0])
    assert first.x.dtype == np.float32
    assert first.t.tolist() == [0, 10**9, 2 * 10**9]
    assert first.target.tolist() == [0, 1, -1]


def test_all_kinds_of_files_say_the_same(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2)).astype(np.float32)
    x[3, 0] = np.nan
    t = np.arange(30) * 10**9 + 10**18
    beds = ["a" if k % 3 else "b" for k in range(30)]
    label = ["", "up", "down"] * 10
    rows = [f"{t[i]},{beds[i]},{x[i, 0]!s},{x[i, 1]!s},{label[i]}" for i in range(30)]
    (tmp_path / "one.csv").write_text("\n".join(["time_ns,bed,p,q,what", *rows]).replace("nan", ""))
    columns = {"time": arrow.array(t, arrow.timestamp("ns")), "bed": beds, "what": [v or None for v in label]}
    columns |= {"p": arrow.array(x[:, 0], from_pandas=True), "q": x[:, 1]}
    parquet.write_table(arrow.table(columns), tmp_path / "one.parquet")
    np.savez(tmp_path / "one.npz", x=x, channels=["p", "q"], time_ns=t, bed=beds, what=label)
    found = [
        read_recordings([tmp_path / f"one{end}"], stream="bed", label="what", classes=["up", "down"])
        for end in (".csv", ".parquet", ".npz")
    ]
    for recordings, names in found:
        assert (names.channels, names.classes) == (("p", "q"), ("up", "down"))
        assert [r.stream for r in recordings] == ["b", "a"]
        for ours, theirs in zip(recordings, found[0][0], strict=True):
            for part in ("x", "t", "target"):
                np.testing.assert_array_equal(getattr(ours, part), getattr(theirs, part))
    assert np.isnan(found[0][0][0].x[1, 0])


def test_targets_channels_and_conditions(tmp_path):
    (tmp_path / "a.csv").write_text("time,bed,a,b,c\n0,x,1,2,3\n0,y,4,5,6\n1,x,7,,9\n")
    (tmp_path / "b.csv").write_text("time,bed,a,b,c\n2,x,1,2,3\n1.5,x,9,9,9\n")
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    recordings, names = read_recordings(files, stream="bed", target="b", channels=["c", "a"])
    assert (names.channels, names.targets) == (("c", "a"), ("b",))
    assert [(r.stream, r.x.tolist()) for r in recordings] == [("x", [[3, 1], [9, 7], [3, 1]]), ("y", [[6, 4]])]
    assert recordings[0].target.tolist()[0] == [2]
    assert np.isnan(recordings[0].target[1, 0])
    assert "1 row that went back in time" in names.notes[0]


@pytest.mark.parametrize(
    ("name", "text", "arguments", "message"),
    [
        ("a.csv", "time,hr\n0,1\n1,2,3\n", {}, r"a.csv:3: 3 cells where the first line names 2 columns"),
        ("a.csv", "time,hr\n0,1\n1,1e39\n", {}, "beyond float32"),
        ("a.csv", "time,hr\n0,1\n1,inf\n", {}, "beyond float32"),
        ("a.csv", "time,hr\n0,one\n", {}, "'one' is not a number"),
        ("a.csv", "time,hr\n0,1\n", {"channels": ["pulse"]}, "no column 'pulse': it has time, hr"),
        ("a.csv", "time,hr\n0,1\n", {"label": "kind"}, "no column 'kind'"),
        ("a.csv", "time,hr\n0,1\n", {"target": "kind"}, "no column 'kind'"),
        ("a.csv", "time,hr\n0,1\n", {"target": "hr"}, "no column of values besides hr"),
        ("a.csv", "time,hr,k\n0,1,\n", {"label": "k"}, "no row has a label in column 'k'"),
        ("a.csv", "time,hr,k\n0,1,N\n", {"label": "k", "classes": ["V"]}, "no row has the label 'V'"),
        ("a.csv", "time,hr,k\n0,1,N\n", {"label": "k", "target": "hr"}, "classifies or regresses"),
        ("a.txt", "time,hr\n0,1\n", {}, "end in .csv.gz, .csv, .parquet, .npz"),
        ("a.npz", "PK", {}, "damaged"),
        ("a.parquet", "PAR1", {}, "damaged"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, name, text, arguments, message):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    (tmp_path / name).write_text(text)
    with pytest.raises((ConfigError, Malformed), match=message):
        read_recordings([tmp_path / name], **arguments)


def test_arrays_that_do_not_belong_together(tmp_path):
    np.savez(tmp_path / "a.npz", p=np.zeros(3), q=np.zeros(4))
    with pytest.raises(Malformed, match=r"different lengths: p \(3\), q \(4\)"):
        read_recordings([tmp_path / "a.npz"])
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), channels=["a"])
    with pytest.raises(Malformed, match="names 1 channels"):
        read_recordings([tmp_path / "a.npz"])
    np.savez(tmp_path / "a.npz", x=np.array([[1.0], [np.inf]]))
    with pytest.raises(Malformed, match="row 1: .*infinite"):
        read_recordings([tmp_path / "a.npz"])


# Splits


def test_by_stream_no_stream_is_in_two_parts():
    found = split(waves(streams=13), Settings(split="stream"))
    names = [{r.stream for r in part} for part in (found.train, found.validation, found.test)]
    assert [len(n) for n in names] == [9, 2, 2]
    assert not names[0] & names[1]
    assert not (names[0] | names[1]) & names[2]


@settings(max_examples=40, deadline=None)
@given(horizon=st.integers(1, 30), lengths=st.lists(st.integers(40, 400), min_size=1, max_size=4), timed=st.booleans())
def test_by_time_training_never_sees_what_validation_is_judged_by(horizon, lengths, timed):
    start = 10**18
    recordings = [
        Recording(
            f"s{i}",
            np.arange(n, dtype=np.float32)[:, None] + 1000 * i,
            start + np.arange(n) * 10**9 * (i + 1) if timed else None,
        )
        for i, n in enumerate(lengths)
    ]
    found = split(recordings, Settings(split="time", horizon=horizon))
    used = {r.stream: [] for r in recordings}
    for k, part in enumerate((found.train, found.validation, found.test)):
        for r in part:
            stop = len(r) if r.stop is None else r.stop
            goals = [float(r.x[i + horizon, 0]) for i in range(r.start, min(stop, len(r) - horizon))]
            judged = {float(v) for v in r.x[r.start : stop, 0]}
            used[r.stream].append((k, judged, set(goals)))
    for parts in used.values():
        for a, judged, goals in parts:
            for b, later, further in parts:
                if a < b:
                    assert not goals & (later | further)
                    assert not judged & later
    if timed:
        latest = [max((r.t[-1] for r in part), default=None) for part in (found.train, found.validation)]
        first = [
            min((r.t[r.start] for r in part if r.counted > 0), default=None) for part in (found.validation, found.test)
        ]
        for before, after in zip(latest, first, strict=True):
            assert before is None or after is None or before < after


def test_gaps_in_time_start_a_stream_anew():
    (r,) = waves(streams=1)
    t = r.t.copy()
    t[100:] += 60 * 10**9
    late = Recording(r.stream, r.x, t)
    assert long_steps([late]) == (1, 1.0)
    assert [len(p) for p in cut_gaps([late], 30.0)] == [100, 200]
    assert [len(p) for p in cut_gaps([late], None)] == [300]
    with pytest.raises(ConfigError, match="no times"):
        cut_gaps(waves(streams=1, timed=False), 30.0)


@pytest.mark.parametrize("timed", [True, False])
def test_what_does_not_count_counts_in_no_part(timed):
    """A recording's own start and stop hold in whatever it is cut into."""
    (r,) = waves(streams=1, length=1000, timed=timed)
    own = Recording(r.stream, np.arange(1000, dtype=np.float32)[:, None], r.t, None, 300, 900)
    found = split([own], Settings(split="time", horizon=5))
    counted = [p.x[p.start : p.stop, 0].tolist() for p in (*found.train, *found.validation, *found.test)]
    assert [(c[0], c[-1]) for c in counted] == [(300, 694), (700, 844), (850, 899)]
    assert [p.counted for p in (*found.train, *found.validation, *found.test)] == [395, 145, 50]
    late = split([Recording(r.stream, own.x, r.t, None, 800)], Settings(split="time", horizon=5))
    assert [p.counted for p in (*late.train, *late.validation, *late.test)] == [0, 45, 150]
    for a, b in ((0, 200), (200, 400), (400, 800), (800, 1000), (950, 1000)):
        p = own.part(a, b)
        assert p.x[p.start : p.stop, 0].tolist() == [v for v in range(a, b) if 300 <= v < 900]
    if timed:
        gap = Recording(r.stream, own.x, np.where(np.arange(1000) < 500, r.t, r.t + 10**12), None, 300, 900)
        assert [(p.start, p.counted) for p in cut_gaps([gap], 30.0)] == [(300, 200), (0, 400)]


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (400, None), (10, 5), (0, 400)])
def test_a_start_or_stop_that_is_not_there_is_refused(start, stop):
    (r,) = waves(streams=1)
    with pytest.raises(ConfigError, match=f"are {start} and {stop} for 300 samples"):
        make_ready([Recording(r.stream, r.x, r.t, None, start, stop)], Settings())


def test_the_normaliser_sees_training_data_alone():
    recordings = waves(streams=1, length=400, timed=False)
    changed = [Recording(r.stream, np.where(np.arange(len(r))[:, None] < 280, r.x, 1e6), r.t) for r in recordings]
    ready = make_ready(changed, Settings())
    assert ready.inputs.mean[0] == pytest.approx(50, abs=2)
    own = scaling_of([recordings[0].part(0, 280)], ["a", "b"])
    np.testing.assert_array_equal(ready.inputs.scale, own.scale)


def test_the_step_of_the_last_value():
    r = Recording("a", np.array([[0], [np.nan], [4], [5]], np.float32))
    scale = scaling_of([r], ["a"])
    unit = steps_of([r], scale, 1) * scale.scale
    assert unit[0] == pytest.approx(np.sqrt((4**2 + 1**2) / 2), rel=1e-6)


# What cannot be learned from


def _with(recordings, **changes):
    return [Recording(**{**{k: getattr(r, k) for k in ("stream", "x", "t", "target")}, **changes}) for r in recordings]


@pytest.mark.parametrize(
    ("recordings", "options", "message"),
    [
        ([], {}, "no sample"),
        (waves(streams=1, length=20), {}, "training data has 13 samples and validation data 2; at least 100 and 20"),
        (waves(streams=2), {"split": "stream"}, "2 streams cannot be split by stream into 3 parts.*--split time"),
        (_with(waves(), x=np.ones((50, 2), np.float32), t=None), {}, "'x0' is 1 in all 210 samples.*--columns"),
        (_with(waves(), x=np.full((50, 2), np.nan, np.float32), t=None), {}, "'x0' has no value"),
        (_with(waves(), x=np.full((50, 2), np.inf, np.float32), t=None), {}, "sample 0, channel 0 .* is infinite"),
        (waves(), {"head": "classify"}, r"no labels \(--label\)"),
        (waves(), {"head": "regress"}, r"no targets \(--target\)"),
        (_with(echoes(), target=np.full(300, 1)), {"head": "classify"}, "has 300 rows for|needs two classes"),
        (waves(), {"features": ("a",)}, "features are a: 1 for 2 channels"),
        (waves(), {"tokens": 5}, "2 channels; tokens are one"),
        (echoes(), {"tokens": 5}, "no token"),
        (waves(timed=False), {"gap": 5.0}, "no times"),
        (_with(waves(), x=np.full((50, 2), -2e12, np.float32), t=None), {}, r"'x0' of stream 's0' is -2e\+12 at"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(recordings, options, message):
    with pytest.raises(ConfigError, match=message):
        make_ready(recordings, Settings(**options))


def test_labels_of_one_class_and_classes_that_are_not_in_training():
    same = [Recording(r.stream, r.x, None, np.where(r.target >= 0, 1, -1)) for r in echoes()]
    with pytest.raises(ConfigError, match=r"all 1,552 labels are 'V'; a classifier needs two classes"):
        make_ready(same, Settings(head="classify", classes=("N", "V")))
    none = [Recording(r.stream, r.x, None, np.full(len(r), -1)) for r in echoes()]
    with pytest.raises(ConfigError, match="no sample has a label"):
        make_ready(none, Settings(head="classify"))
    three = [Recording(r.stream, r.x, None, r.target) for r in echoes()]
    with pytest.raises(ConfigError, match="training data has no label Q.*--classes"):
        make_ready(three, Settings(head="classify", classes=("N", "V", "Q")))


def test_what_cannot_be_judged_is_said():
    recordings = [
        Recording(r.stream, r.x, None, np.where(np.arange(len(r)) > 200, 0 * r.target, r.target)) for r in echoes()
    ]
    notes = make_ready(recordings, Settings(head="classify", split="time", classes=("N", "V"))).notes
    assert [note.split(":")[0] for note in notes] == ["validation data has no V", "test data has no V"]
    (r,) = waves(streams=1)
    late = Recording(r.stream, r.x, np.where(np.arange(300) < 50, r.t, r.t + 10**12))
    assert "1 step in time of more than ten usual ones (1 s)" in make_ready([late], Settings()).notes[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "transformer"}, "gru, lstm, elman, rnn_relu"),
        ({"head": "classify", "loss": "mse"}, "use one of cross_entropy"),
        ({"head": "classify", "horizon": 3}, "only a forecast"),
        ({"parts": (0.5, 0.2, 0.2)}, "add up to 1"),
        ({"hidden": (3, 4)}, "hidden has 2 values for 1 layers"),
        ({"rate": 0}, "rate is 0"),
        ({"chrono": 1}, "chrono is 1"),
        ({"horizon": 5000}, "horizon is 5000"),
        ({"seed": -1}, "seed is -1"),
        ({"detector": {"hold": 0}}, "detector.hold is 0"),
        ({"detector": {"surprise_rate": 0.1}}, "unknown detector setting 'surprise_rate'"),
        ({"detector": {"envelope": 0.1}, "tokens": 9}, "unknown detector setting 'envelope'"),
        ({"detector": {"threshold": 2}, "false_alarms": "1/h"}, "leave out --false-alarms, or --detector threshold"),
    ],
)
def test_settings_name_the_value_and_the_limit(options, message):
    with pytest.raises(ConfigError, match=message):
        Settings(**options)
