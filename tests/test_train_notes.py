"""What reading recordings says of them: streams that share a file, values that are missing, files that hold nothing."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.errors import Malformed
from streamrnn.feeds.cells import MISSING
from streamrnn.train import Settings, read_recordings
from streamrnn.train.ready import make_ready


def ward_file(path, ids=("b1", "b2", "b3"), seconds=60, apart=False):
    """Several beds in one file, row by row or one after the other; the ward is a column that names no stream."""
    rng = np.random.default_rng(0)
    rows = [
        (t, bed, 2 - (k < 2), 60 + rng.integers(0, 30), 90 + rng.integers(0, 9))
        for t in range(seconds)
        for k, bed in enumerate(ids)
    ]
    if apart:
        rows.sort(key=lambda row: row[1])
    path.write_text("time_s,bed,ward,hr,spo2\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("ids", [("b1", "b2", "b3"), (7, 8, 9)], ids=["text", "numbers"])
def test_many_streams_in_one_file_are_noticed(tmp_path, ids):
    path = ward_file(tmp_path / "ward.csv", ids)
    (note,) = read_recordings([path], channels=["hr", "spo2"])[1].notes
    assert note == (
        f"{path}: 120 of 180 rows have the time of the row before, as where many streams are in one file: "
        "--stream-column bed would tell them apart (3 of them, in each of which time goes on)"
    )
    assert read_recordings([path], stream="bed", channels=["hr", "spo2"])[1].notes == ()
    if ids[0] == 7:  # taken for a channel
        assert "--stream-column bed" in read_recordings([path])[1].notes[0]


def test_streams_one_after_the_other_are_noticed(tmp_path):
    path = ward_file(tmp_path / "ward.csv", apart=True)
    notes = read_recordings([path], channels=["hr"])[1].notes
    assert notes[0].startswith(f"{path}: 2 times go back, as where many")
    assert "--stream-column bed" in notes[0]
    assert "118 rows that went back in time" in notes[1]


def test_other_kinds_of_files_too(tmp_path):
    t = np.repeat(np.arange(50) * 10**9, 2)
    np.savez(tmp_path / "a.npz", time_ns=t, who=np.arange(100) % 2, x=np.random.default_rng(0).normal(size=100))
    assert "--stream-column who" in read_recordings([tmp_path / "a.npz"], channels=["x0"])[1].notes[0]


def test_times_that_stand_still_for_another_reason(tmp_path):
    rng = np.random.default_rng(0)
    half, seldom = tmp_path / "half.csv", tmp_path / "seldom.csv"
    half.write_text("time_s,hr\n" + "".join(f"{i // 2},{rng.normal():.6f}\n" for i in range(100)))
    assert "none of its columns looks like that" in read_recordings([half])[1].notes[0]
    seldom.write_text("time_s,hr\n" + "".join(f"{max(i, 1)},{rng.normal():.6f}\n" for i in range(100)))
    assert read_recordings([seldom])[1].notes == ()


@pytest.mark.parametrize("spelled", sorted({word.upper() for word in MISSING} | MISSING | {"N/a", " NaN "}))
def test_what_is_missing_is_counted_however_it_is_spelled(tmp_path, spelled):
    (tmp_path / "a.csv").write_text(
        "time,hr,spo2\n" + "".join(f"{i},{spelled if i % 4 else i},{i % 3}\n" for i in range(40))
    )
    np.savez(tmp_path / "b.npz", hr=[spelled if i % 4 else str(i) for i in range(40)], spo2=np.arange(40) % 3)
    for name in ("a.csv", "b.npz"):
        recordings, names = read_recordings([tmp_path / name])
        assert np.isnan(recordings[0].x[:, 0]).sum() == 30
        assert names.notes == ()
        assert make_ready(recordings * 10, Settings(features=names.channels, persist=False)).missing == {
            "samples": 400,
            "channels": {"hr": 300},
        }


def test_text_among_numbers_is_named_by_its_row(tmp_path):
    np.savez(tmp_path / "a.npz", hr=["1", "n/a", "fast"], spo2=np.zeros(3))
    with pytest.raises(Malformed, match=r"a\.npz: column 'hr', row 2: 'fast' is not a number; is it the stream's name"):
        read_recordings([tmp_path / "a.npz"])
    with pytest.raises(Malformed, match="for classes say --label hr"):
        read_recordings([tmp_path / "a.npz"], target="hr")


def test_a_time_that_is_none_is_named_by_its_row(tmp_path):
    for times in (["0", "1", "soon"], [0.0, 1.0, np.nan]):
        np.savez(tmp_path / "a.npz", time_s=times, hr=np.zeros(3))
        with pytest.raises(Malformed, match=r"column 'time_s', row 2: '(soon|nan)' is not a time; name another"):
            read_recordings([tmp_path / "a.npz"])
    np.savez(tmp_path / "a.npz", time=np.array(["2024-01-01", "NaT"], "datetime64[ns]"), hr=np.zeros(2))
    with pytest.raises(Malformed, match="column 'time', row 1 has no time"):
        read_recordings([tmp_path / "a.npz"])


def test_a_file_without_a_row_is_said(tmp_path):
    (tmp_path / "a.csv").write_text("time,hr\n")
    (tmp_path / "b.csv").write_text("time,hr\n0,1\n")
    recordings, names = read_recordings([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert [r.stream for r in recordings] == ["b"]
    assert names.notes == (f"{tmp_path}/a.csv holds no row, and is left out",)
