"""`streamrnn train`: files in, a model out, and one line where that cannot be."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from recordings import waves
from terminal import Terminal

from streamrnn import Model
from streamrnn.cli import run

QUICK = ("--hidden", "6", "--epochs", "2", "--chunk", "32")


@pytest.fixture
def bed(tmp_path):
    """A CSV file of one stream of two channels, with labels and a target."""
    path = tmp_path / "data" / "bed.csv"
    path.parent.mkdir()
    (r,) = waves(streams=1, length=600, missing=0.05)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["time_s", "hr", "spo2", "kind", "next"])
        for i, (a, b) in enumerate(r.x.tolist()):
            cells = ["" if np.isnan(v) else f"{v:.3f}" for v in (a, b)]
            out.writerow([i, *cells, ["low", "high"][int(a > 50)] if i % 5 else "", f"{i % 7}"])
    return path


def trained(capsys, *arguments):
    """(exit status, standard output, standard error) of `streamrnn train`."""
    status = run(["train", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def need_torch():
    pytest.importorskip("torch", reason="PyTorch is not installed (extra train)").set_num_threads(1)


@pytest.mark.parametrize("part", ["--validation", "--test"])
def test_a_file_is_not_learned_from_and_judged_by(bed, capsys, tmp_path, part):
    need_torch()
    (tmp_path / "link.csv").symlink_to(bed)
    for path in (bed, tmp_path / "link.csv"):
        status, _, said = trained(capsys, bed, "-o", tmp_path / "m.safetensors", part, path, *QUICK)
        assert status == 2
        assert f"{path} is given twice" in said
    assert not (tmp_path / "m.safetensors").exists()


def test_a_work_folder_that_cannot_be_is_refused_before_training(bed, capsys, tmp_path):
    need_torch()
    (tmp_path / "file").write_text("")
    status, _, said = trained(capsys, bed, "-o", tmp_path / "m.safetensors", "--work", tmp_path / "file" / "w", *QUICK)
    assert status == 2
    assert "cannot be written (Not a directory); name another folder" in said


def test_a_file_becomes_a_model_that_other_commands_take(bed, capsys, tmp_path):
    need_torch()
    out = tmp_path / "m.safetensors"
    options = ("--columns", "hr,spo2", "--units", "1/min,%", "--horizon", "3", "--false-alarms", "40/1000")
    status, printed, said = trained(capsys, bed, "-o", out, *options, *QUICK)
    assert status == 0
    assert [line for line in said.splitlines() if "epoch" in line][1].startswith("streamrnn: epoch 2 of 2: loss ")
    for text in (
        "gru 2 -> 6",
        "split by time",
        "missing, of 600 samples: hr 41 (6.8 %), spo2 36 (6 %)",
        "% of steps clipped",
        "mae_last_value",
        "threshold",
        "test: samples",
    ):
        assert text in printed
    assert "seed 0: 2 epochs (all of 2 epochs), " in printed
    assert "  skill: 1 - mae / mae_last_value; below 0 is worse" in printed
    assert "% of the time" in printed
    assert " (gaussian; less is better)" in printed
    assert "largest difference" in printed
    model = Model.load(out)
    assert (model.spec.features, model.spec.units, model.spec.horizon) == (("hr", "spo2"), ("1/min", "%"), 3)
    assert model.spec.provenance["made_by"] == "streamrnn train"
    made = {p.name for p in (tmp_path / "m.train").iterdir()}
    assert made >= {"checkpoint.safetensors", "curves.csv", "curves.png", "report.json"}
    assert run(["score", str(bed), "--model", str(out)]) == 0
    assert run(["info", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "hr (1/min)" in shown
    assert "false_alarms, settings, test, validation: see --json" in shown

    status, _, said = trained(capsys, bed, "-o", out, *options, *QUICK)
    assert status == 2
    assert "--force" in said
    status, printed, _ = trained(capsys, bed, "-o", out, *options, *QUICK, "--resume", "--epochs", "3", "--json")
    assert status == 0
    report = json.loads(printed)
    assert report["seeds"][0]["epochs"] == 3
    assert report["false_alarms"]["stated"] == 40


def test_labels_make_a_classifier_and_targets_a_regression(bed, capsys, tmp_path):
    need_torch()
    out = tmp_path / "m.safetensors"
    status, printed, _ = trained(capsys, bed, "-o", out, "--columns", "hr", "--label", "kind", *QUICK, "--epochs", "1")
    assert status == 0
    assert "seed 0: 1 epoch (all of 1 epoch), " in printed
    assert "  high: samples" in printed
    assert Model.load(out).spec.provenance["classes"] == ["high", "low"]
    options = ("--columns", "hr,spo2", "--target", "next", "--force", "--cell", "lstm", "--layer-norm")
    status, printed, _ = trained(capsys, bed, "-o", out, *options, *QUICK)
    assert status == 0
    assert "  next: mae" in printed
    assert Model.load(out).spec.head == "regress"


def test_diagnose_draws_without_training(bed, capsys, tmp_path):
    need_torch()
    png = tmp_path / "decay.png"
    status, _, said = trained(capsys, bed, "--columns", "hr,spo2", "--diagnose", png, "--lags", "30")
    assert status == 0
    assert "elman" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "decay.csv", "decay.png"]


def test_the_table_of_diagnose_does_not_replace_a_recording(bed, capsys):
    need_torch()
    before = bed.read_bytes()
    status, _, said = trained(capsys, bed, "--diagnose", bed.with_suffix(".png"), "--force")
    assert status == 2
    assert "is what is read" in said
    assert bed.read_bytes() == before


def test_what_an_earlier_run_learned_is_not_replaced_unasked(bed, capsys, tmp_path):
    need_torch()
    (tmp_path / "m.train").mkdir()
    kept = tmp_path / "m.train" / "checkpoint.safetensors"
    kept.write_bytes(b"hours of work")
    status, _, said = trained(capsys, bed, "-o", tmp_path / "m.safetensors")
    assert status == 2
    assert "--resume" in said
    assert "--force" in said
    assert kept.read_bytes() == b"hours of work"


def test_diagnose_as_json(bed, capsys, tmp_path):
    need_torch()
    png = tmp_path / "decay.png"
    status, out, _ = trained(capsys, bed, "--columns", "hr,spo2", "--diagnose", png, "--lags", "20", "--json")
    assert status == 0
    assert set(json.loads(out)) == {"figure", "table", "decays"}


BAD = {
    "ragged": ("time,hr\n0,1\n1,2,3\n", (), "3 cells where the first line names 2 columns"),
    "infinite": ("time,hr\n0,1\n1,inf\n", (), "beyond float32"),
    "constant": ("time,hr\n" + "".join(f"{i},7\n" for i in range(400)), (), "is 7 in all 280 samples"),
    "too little": ("time,hr\n" + "".join(f"{i},{i % 5}\n" for i in range(40)), (), "at least 100 and 20 are needed"),
    "constant and too little": (
        "time,hr\n" + "".join(f"{i},7\n" for i in range(29)),
        (),
        "training data has 19 samples and",
    ),
    "text": ("time,bed\n0,b1\n", (), "then --stream-column or --label"),
    "text as a target": ("time,hr,k\n0,1,low\n", ("--target", "k"), "for classes say --label k"),
    "a quantity as labels": (
        "time,hr,k\n" + "".join(f"{i},{i % 5},{i / 7:.3f}\n" for i in range(400)),
        ("--label", "k"),
        "with --target k",
    ),
    "units": (
        "time,a,b,c\n" + "".join(f"{i},{i % 5},{i % 7},{i % 11}\n" for i in range(400)),
        ("--units", "%,1/min"),
        "units are %, 1/min: 2 for 3 channels (a, b, c)",
    ),
    "classes of nothing": ("time,hr\n0,1\n", ("--classes", "A,B"), "name that of labels too"),
    "a forecast of labels": ("time,hr,k\n0,1,A\n", ("--label", "k", "--head", "forecast"), "leave one of them out"),
    "no layers": ("time,hr\n0,1\n", ("--layers", "0"), "layers is 0"),
    "half a unit": ("time,hr\n0,1\n", ("--hidden", "6.5"), "it must be whole numbers"),
    "an option of another head": ("time,hr\n0,1\n", ("--class-weights", "balanced"), "of use with head 'classify'"),
    "no time of day": (
        "time,hr\n" + "".join(f"{i},{i % 5}\n" for i in range(400)),
        ("--clock",),
        "a time before 2000 is a counter",
    ),
    "no column": ("time,hr\n0,1\n", ("--columns", "pulse"), "no column 'pulse'"),
    "no label": ("time,hr,k\n0,1,\n", ("--label", "k"), "no row has a label"),
    "one class": (
        "time,hr,k\n" + "".join(f"{i},{i % 5},N\n" for i in range(400)),
        ("--label", "k"),
        "all 400 labels are 'N'; a classifier needs two classes: give recordings that hold another, or choose another",
    ),
    "a class that comes late": (
        "time,hr,k\n" + "".join(f"{i},{i % 5},{'NV'[i > 380]}\n" for i in range(400)),
        ("--label", "k"),
        "has no label V, so it cannot be learned: split into other shares (--parts)",
    ),
    "option": ("time,hr\n0,1\n", ("--cell", "mamba"), "use one of gru, lstm, elman, rnn_relu"),
    "numbers": ("time,hr\n0,1\n", ("--hidden", "many"), "--hidden is 'many'"),
    "parts": ("time,hr\n0,1\n", ("--parts", "1,2"), "three shares"),
    "detector's name": ("time,hr\n0,1\n", ("--detector", "treshold=2"), "unknown detector setting 'treshold'"),
    "detector's value": ("time,hr\n0,1\n", ("--detector", "hold=-1"), "it must be a finite number from 1 to 1e+09"),
    "detector's text": ("time,hr\n0,1\n", ("--detector", "hold=1,2"), "'hold=1,2' names no number"),
    "detector's pair": ("time,hr\n0,1\n", ("--detector", "hold"), "write it like --detector hold=40"),
    "detector twice": ("time,hr\n0,1\n", ("--detector", "hold=4", "--detector", "hold=5"), "hold is given twice"),
    "two thresholds": (
        "time,hr\n0,1\n",
        ("--detector", "threshold=2", "--false-alarms", "1/h"),
        "leave out --false-alarms, or --detector threshold",
    ),
    "large": (
        "time,hr\n" + "".join(f"{i},{i % 5 if i != 390 else 2e12}\n" for i in range(400)),
        (),
        "channel 'hr' of stream 'a' is 2e+12 at sample 390; 1e+12 is the most",
    ),
    "large target": (
        "time,hr,y\n" + "".join(f"{i},{i % 5},{i % 3 * 1e9}\n" for i in range(400)),
        ("--target", "y"),
        "target 'y' of stream 'a' is 2e+09 at sample 2; 1e+09 is the most",
    ),
    "alarms": ("time,hr\n" + "".join(f"{i},{i % 5}\n" for i in range(400)), ("--false-alarms", "1/d"), "0.5/h"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(case, capsys, tmp_path):
    need_torch()
    text, options, message = BAD[case]
    (tmp_path / "a.csv").write_text(text)
    status, printed, said = trained(capsys, tmp_path / "a.csv", "-o", tmp_path / "m.safetensors", *options)
    assert (status, printed) == (2, "")
    assert message in said
    assert said.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_files_that_are_not_there_and_outputs_that_cannot_be(bed, capsys, tmp_path):
    need_torch()
    for arguments, message in (
        ((tmp_path / "none.csv", "-o", tmp_path / "m.safetensors"), "none.csv"),
        ((bed,), "-o model.safetensors"),
        ((bed, "-o", tmp_path / "m.txt"), "must end in .safetensors"),
        ((bed, "-o", tmp_path / "m.safetensors", "--resume", "--columns", "hr"), "no checkpoint"),
        ((bed, "-o", tmp_path / "m.safetensors", "--diagnose", tmp_path / "d.jpg"), "must end in .png"),
    ):
        status, printed, said = trained(capsys, *arguments)
        assert (status, printed) == (2, "")
        assert message in said
        assert said.count("\n") == 1
        assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_without_the_extra_it_says_what_to_install(bed, tmp_path):
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom streamrnn.cli import run\n"
        f"sys.exit(run(['train', {str(bed)!r}, '-o', {str(tmp_path / 'm.safetensors')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("streamrnn: training needs torch, which is not installed: pip install 'streamrnn[train]'\n")


def test_pytorch_is_imported_only_when_it_trains():
    code = (
        "import sys, streamrnn.cli, streamrnn.train\n"
        "streamrnn.train.Settings()\n"
        "print(sorted({'torch', 'matplotlib', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_a_terminal_shows_how_far_it_is(bed, tmp_path):
    need_torch()
    words = ["train", str(bed), "-o", str(tmp_path / "m.safetensors"), "--columns", "hr,spo2", "--threads", "1"]
    with Terminal([sys.executable, "-m", "streamrnn", *words, *QUICK, "--epochs", "3"], columns=140) as terminal:
        terminal.until("epoch 1 of 3", 120)
        terminal.until("rate 0.0", 60)
        terminal.until("largest difference", 120)
        assert terminal.status() == 0
