"""What training says: a network that is no good, alarms that are not as stated, what its figures are, how far it is."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra train)")

from recordings import echoes, waves

from streamrnn import Model
from streamrnn.cli.figures import FIGURES, legend
from streamrnn.cli.trained import training_bar
from streamrnn.train import Recording, Settings, curves, fit
from streamrnn.train.calibrate import Rate, allowance, calibrate, parse_rate
from streamrnn.train.curves import tensorboard, to_tensorboard
from streamrnn.train.remarks import remarks
from streamrnn.train.trainer import Progress

torch.set_num_threads(1)

QUICK = {"hidden": 6, "epochs": 2, "chunk": 32}


def walks(streams=4, length=400):
    """Channels whose last value is the best forecast there is."""
    rng = np.random.default_rng(3)
    x = np.cumsum(rng.normal(size=(streams, length, 2)), 1)
    return [Recording(f"s{i}", v.astype(np.float32)) for i, v in enumerate(x)]


def report_of(**parts):
    """A report with nothing to be said about, but for `parts`."""
    return {"seed": 0, "epoch": 3, "seeds": [{"seed": 0, "clipped": 0.1}], "validation": {}, "test": {}, **parts}


def said_of(settings=None, history=(), **parts):
    return remarks(report_of(**parts), settings or Settings(), history)


# A network that is no good


def test_a_forecaster_that_is_worse_than_the_last_value_says_so_and_why():
    fitted = fit(walks(), Settings(**QUICK, layer_norm=True, features=("a", "b")))
    (note,) = [n for n in fitted.report["notes"] if "worse than the last value" in n]
    channels = fitted.report["test"]["channels"]
    assert all(c["skill"] < 0 for c in channels.values())
    assert all(f"{name} (skill {c['skill']:.2g})" in note for name, c in channels.items())
    assert "test data" in note
    assert "leave out --layer-norm" in note


def test_a_good_forecaster_hears_nothing():
    fitted = fit(waves(), Settings(hidden=12, epochs=6, chunk=32, rate=1e-2, warmup=10, clip=0.0))
    assert all(c["skill"] > 0 and c["nll"] < c["nll_last_value"] for c in fitted.report["test"]["channels"].values())
    assert fitted.report["notes"] == []


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        (Settings(), "--changes 2,5,17,65, --dropout 0.2, or a longer --horizon"),
        (Settings(persist=False), "--no-persist"),
        (Settings(hidden=(32, 3), layers=2), "--hidden of 4 or more in each layer"),
        (Settings(changes=(2, 5), dropout=0.1), "more recordings, or a longer --horizon"),
    ],
)
def test_the_remedy_is_one_that_was_not_tried(settings, remedy):
    channels = {"hr": {"skill": -0.2}, "spo2": {"skill": 0.3}}
    (note,) = said_of(settings, test={"channels": channels})
    assert remedy in note
    assert "hr (skill -0.2):" in note
    assert "spo2" not in note


def test_worse_in_error_and_better_in_likelihood_is_both_said():
    worse = {"skill": -0.2, "nll": 1.0, "nll_last_value": 1.4}
    (note,) = said_of(test={"channels": {"hr": worse}})
    assert "nll below nll_last_value" in note
    (note,) = said_of(test={"channels": {"hr": worse, "spo2": {**worse, "nll": 2.0}}})
    assert "nll" not in note


def test_the_last_value_itself_is_not_called_worse_for_its_rounding():
    (note,) = said_of(epoch=0, test={"channels": {"hr": {"skill": -1e-4}}})
    assert "no epoch was better" in note
    assert len(said_of(epoch=0, test={"channels": {"hr": {"skill": -0.1}}})) == 2
    assert len(said_of(epoch=1, test={"channels": {"hr": {"skill": -1e-4}}})) == 1
    assert said_of(epoch=1, test={"channels": {"hr": {"skill": None}}}) == []


def test_validation_data_is_judged_where_there_is_no_test_data():
    (note,) = said_of(validation={"channels": {"hr": {"skill": -0.1}}})
    assert "worse than the last value on validation data" in note


def turned(recordings):
    """The other label everywhere."""
    return [Recording(r.stream, r.x, None, np.where(r.target < 0, -1, 1 - r.target)) for r in recordings]


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_a_classifier_that_is_below_the_commonest_class_says_so(weights):
    every = echoes()
    settings = Settings(head="classify", hidden=10, epochs=12, rate=1e-2, class_weights=weights)
    fitted = fit(every[:4], settings, validation=every[4:5], test=turned(every[5:]))
    (note,) = [n for n in fitted.report["notes"] if "test data" in n]
    found = fitted.report["test"]
    assert found["accuracy"] < 0.3
    if weights == "none":
        assert "no good on test data" in note
        assert f"{100 * found['accuracy_commonest']:.3g} %" in note
        assert "bare shares of the classes" in note
    else:
        assert "no better than guessing" in note
    right = fit(every[:4], settings, validation=every[4:5], test=every[5:])
    assert not any("test data" in n for n in right.report["notes"])


def test_a_classifier_that_always_says_the_same_says_so():
    good = {"samples": 90, "accuracy": 0.9, "accuracy_commonest": 0.9, "log_loss": 0.2, "log_loss_shares": 0.33}
    usual, rare = {"samples": 81, "recall": 1.0, "auroc": 0.8}, {"samples": 9, "recall": 0.0, "auroc": 0.8}
    never = {"samples": 0, "recall": None, "auroc": None}
    (note,) = said_of(test={**good, "classes": {"usual": usual, "rare": rare, "never": never}})
    assert "'usual' is the likeliest class for every sample of test data" in note
    assert "(auroc 0.8, " in note
    assert said_of(test={**good, "classes": {"usual": usual, "rare": {**rare, "recall": 0.1}}}) == []
    assert said_of(test={**good, "classes": {"usual": usual, "never": never}}) == []


def test_a_regression_that_is_worse_than_the_mean_says_so():
    def scaled(r, by):
        return Recording(r.stream, r.x, None, (by * r.x).astype(np.float32))

    every = echoes()
    train, test = [scaled(r, 5) for r in every[:5]], [scaled(r, -5) for r in every[5:]]
    settings = Settings(head="regress", hidden=6, epochs=6, rate=2e-2, targets=("five",))
    (note,) = [n for n in fit(train[:4], settings, validation=train[4:], test=test).report["notes"] if "r2" in n]
    assert "worse than always saying the mean on test data: five (r2 -" in note


def test_tokens_that_are_no_better_than_their_shares_say_so():
    rule = [Recording(f"s{i}", (np.arange(300, dtype=np.float32)[:, None] + i) % 5) for i in range(4)]
    noise = Recording("noise", np.random.default_rng(0).integers(0, 5, (300, 1)).astype(np.float32))
    settings = Settings(tokens=5, embedding=4, hidden=8, epochs=10, rate=2e-2)
    fitted = fit(rule[:3], settings, validation=rule[3:], test=[noise])
    found = fitted.report["test"]
    assert 2.2 < found["bits_shares"] <= np.log2(5)
    assert found["bits"] > found["bits_shares"]
    assert 0.2 <= found["accuracy_commonest"] < 0.3
    assert any("no better than the bare shares of the tokens on test data" in n for n in fitted.report["notes"])
    assert fitted.report["validation"]["bits"] < fitted.report["validation"]["bits_shares"]


def test_steps_that_were_all_clipped_name_a_clip_that_would_do():
    history = [{"seed": s, "gradient_norm": g} for s, g in ((0, 3.0), (0, 4.1), (0, 9.0), (1, 1e3), (0, float("nan")))]
    seeds = [{"seed": 1, "clipped": 0.0}, {"seed": 0, "clipped": 0.996}]
    (note,) = said_of(Settings(clip=0.5), history, seeds=seeds)
    assert note.startswith("99.6 % of steps were clipped: a usual gradient's norm was 4.1 and --clip is 0.5; --clip 9 ")
    assert said_of(Settings(clip=0.0), history, seeds=seeds) == []
    assert said_of(Settings(), history) == []
    fitted = fit(waves(), Settings(**QUICK, clip=1e-6))
    assert any(n.startswith("100 % of steps were clipped") for n in fitted.report["notes"])


# Alarms


def ward(spread, seed, streams=3, length=600):
    rng = np.random.default_rng(seed)
    x = np.array([80.0, 80.0, 16.0, 97.0]) + rng.normal(size=(streams, length, 4)) * spread
    t = np.arange(length) * 10**9
    return [Recording(f"s{i}", np.round(v).astype(np.float32), t) for i, v in enumerate(x)]


def test_a_rate_that_test_data_does_not_keep_is_said_and_the_time_that_is_flagged():
    model = Model.builtin("vitals")
    calm, wild = ward(1.0, 0), ward(1.0, 1)
    for r in wild:
        r.x[300::40] += 50  # an alarm each, but for those that fall into another's flag
    _, found = calibrate(model, Rate(3.0, "k"), calm, wild)
    assert found["test"]["rate_low"] > 3.0
    assert 0 < found["test"]["flagged"] < 1
    notes = [n for n in said_of(false_alarms=found) if "not kept on test data" in n]
    assert len(notes) == 1
    assert f"{found['test']['rate']:.3g} alarms in 1,000 samples" in notes[0]
    _, found = calibrate(model, Rate(3.0, "k"), calm, calm)
    assert not any("not kept" in n for n in said_of(false_alarms=found))


def alarms_of(**parts):
    """Facts of a threshold that is beyond doubt, but for `parts`."""
    own = {
        "alarms": 20,
        "exposure": 4.0,
        "unit": "stream-hours",
        "rate": 2.0,
        "rate_low": 1.2,
        "rate_high": 3.1,
        "flagged": 0.01,
    }
    facts = {"stated": 2.0, "per": "an hour of a stream", "threshold": 1.5, "reached": True}
    return {**facts, "validation": own, "test": own, **parts}


def test_what_is_doubtful_about_a_threshold_is_a_line_each():
    assert said_of(false_alarms=alarms_of()) == []
    own = alarms_of()["validation"]
    few = {**own, "alarms": 1, "rate_low": 0.0379, "rate_high": 8.34}
    (note,) = said_of(false_alarms=alarms_of(validation=few))
    assert "rests on 1 alarm in" in note
    assert "0.038 to 8.3 an hour of a stream: for 10 alarms, give 5 stream-hours of it" in note
    (note,) = said_of(false_alarms=alarms_of(validation={**few, "exposure": 6.0}))
    assert note.endswith("8.3 an hour of a stream")
    assert said_of(false_alarms=alarms_of(validation=few, reached=False)) == []  # more data would not mend that
    (note,) = said_of(false_alarms=alarms_of(threshold=0.4, test={**own, "flagged": 0.123}))
    assert "the threshold 0.4 is below the default of 1: it flags, 12.3 % of the time," in note
    # More than stated, as chance has it, is no broken word; even the low end of the interval above it is.
    assert said_of(false_alarms=alarms_of(test={**own, "rate": 3.0, "rate_low": 1.9})) == []
    (note,) = said_of(false_alarms=alarms_of(test={**own, "rate": 4.0, "rate_low": 2.1}))
    assert "4 alarms an hour of a stream (95 %: 2.1 to 3.1), where 2 was stated" in note
    both = alarms_of(threshold=0.4, validation=few, test={**own, "rate_low": 2.1})
    assert len(said_of(false_alarms=both)) == 3
    assert len(said_of(false_alarms=alarms_of(test={}))) == 0


@pytest.mark.parametrize("per", ["h", "k"])
def test_recordings_that_are_too_short_name_the_least_rate_that_would_do(per):
    validation = waves(streams=2, length=300)
    written = "/h" if per == "h" else "/1000"
    with pytest.raises(Exception, match="give --false-alarms .* or more, or recordings with ") as refused:
        allowance(Rate(0.01, per), validation)
    least = str(refused.value).split("--false-alarms ")[1].split(" or more")[0]
    assert least.endswith(written)
    rate = parse_rate(least)
    assert 1 <= allowance(rate, validation) < 1.1
    with pytest.raises(Exception, match="of an alarm"):
        allowance(Rate(0.9 * rate.value, per), validation)
    empty = [Recording("s", np.zeros((1, 1), np.float32), np.zeros(1, np.int64))]
    with pytest.raises(Exception, match=r"needed: give recordings with 100 stream-hours for"):
        allowance(Rate(0.01, "h"), empty)


# Figures


@pytest.mark.parametrize(
    ("settings", "recordings"),
    [
        (Settings(**QUICK), waves()),
        (Settings(**QUICK, loss="quantile"), waves()),
        (Settings(**QUICK, head="classify"), echoes()),
        (Settings(**QUICK, head="regress"), [Recording(r.stream, r.x, None, r.x) for r in waves()]),
        (
            Settings(hidden=4, epochs=1, tokens=5),
            [Recording(f"s{i}", (np.arange(300, dtype=np.float32)[:, None]) % 5) for i in range(4)],
        ),
    ],
    ids=["gaussian", "quantile", "classify", "regress", "tokens"],
)
def test_every_figure_is_explained_in_the_terminal_and_in_the_document(settings, recordings):
    found = fit(recordings, settings).report["test"]
    shown = {name for name in found if not isinstance(found[name], dict)}
    shown |= {name for value in found.values() if isinstance(value, dict) for c in value.values() for name in c}
    lines = legend(found)
    assert {line.split(":")[0].strip() for line in lines} == shown - {"samples"}
    assert all(len(line) <= 90 for line in lines)


def test_the_document_has_a_row_for_each_figure():
    text = (Path(__file__).parents[1] / "docs/models.md").read_text(encoding="utf-8")
    rows = text.partition("### What the figures mean")[2].partition("###")[0]
    assert [name for name in FIGURES if f"`{name}`" not in rows] == []


# How far it is


class Screen(io.StringIO):
    """A terminal, as far as anybody asks."""

    def isatty(self):
        return True


def at(epoch, epochs=3, seed=0, validation=float("nan"), **changes):
    facts = {"share": epoch / epochs, "loss": 0.512345, "best": 0.5, "rate": 3e-3, "ended": epoch == epochs, **changes}
    return Progress(seed=seed, epoch=epoch, epochs=epochs, validation=validation, **facts)


def test_a_terminal_shows_a_bar_with_losses_rate_and_time_left(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with training_bar(Settings(seeds=2)) as progress:
        progress(at(1))
        progress(at(1, validation=0.75))
        progress(at(2, notes=("the loss rose to 9 at step 4: back",)))
        deadline = time.monotonic() + 30
        while "epoch 2 of 3" not in screen.getvalue():  # drawn ten times a second
            assert time.monotonic() < deadline, screen.getvalue()
        progress(at(3, seed=1, validation=0.25))
    shown = screen.getvalue()
    assert "seed 0, epoch 2 of 3" in shown
    assert "loss 0.5123, validation 0.75, best 0.5, rate 0.003" in shown  # that of the last epoch, within the next
    assert "seed 1, epoch 3 of 3" in shown
    assert "validation 0.25" in shown
    assert "-:--:--" in shown or "0:00:0" in shown
    assert shown.count("streamrnn: the loss rose to 9 at step 4: back") == 1


def test_a_log_gets_a_line_an_epoch_and_not_more(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with training_bar(Settings()) as progress:
        for epoch in range(1, 1235):
            progress(at(epoch, 1234))
            progress(at(epoch, 1234, validation=0.75, notes=("odd",) if epoch == 111 else ()))
    lines = log.getvalue().splitlines()
    assert lines[0] == "streamrnn: epoch 1 of 1234: loss 0.5123, validation 0.75, best 0.5, rate 0.003"
    assert len(lines) == 99 + 90 + 3 + 1 + 1  # to 99, to 990, 1000 to 1200, the last; and what was odd
    assert lines[-1].startswith("streamrnn: epoch 1234 of 1234")
    assert "streamrnn: odd" in lines


# TensorBoard

ROWS = [
    {"seed": 4, "epoch": e, "train_loss": 1 / e, "validation_loss": 2 / e, "rate": 1e-3, "gradient_norm": 1.0}
    | {"clipped": 0.5, "went_back": 0}
    for e in (1, 2, 3)
]


def fake_tensorboard(monkeypatch, module):
    real = curves.installed
    monkeypatch.setattr(curves, "installed", lambda name: name == "tensorboard" or real(name))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)


def test_each_epoch_is_told_to_tensorboard_once(monkeypatch, tmp_path):
    told, open_writers = [], []

    class SummaryWriter:
        def __init__(self, folder):
            self.folder = folder
            open_writers.append(self)

        def add_scalar(self, name, value, step):
            told.append((self.folder, name, value, step))

        def close(self):
            open_writers.remove(self)

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    fake_tensorboard(monkeypatch, module)
    to_tensorboard(tmp_path, [ROWS[0], {**ROWS[1], "validation_loss": float("nan")}], 1)
    folder = str(tmp_path / "tensorboard")
    assert (folder, "train_loss/seed4", 0.5, 2) in told
    assert {name.partition("/")[0] for _, name, _, _ in told} == {*ROWS[0]} - {"seed", "epoch", "validation_loss"}
    told.clear()
    fitted = fit(waves(), Settings(**QUICK, seeds=2), tmp_path / "m.safetensors")
    losses = [(name, step, value) for _, name, value, step in told if name.startswith("validation_loss")]
    assert losses == [(f"validation_loss/seed{r['seed']}", r["epoch"], r["validation_loss"]) for r in fitted.history]
    assert open_writers == []


def test_tensorboard_that_cannot_be_imported_is_said_and_ends_nothing(monkeypatch, tmp_path):
    fake_tensorboard(monkeypatch, None)  # so Python raises ImportError
    assert tensorboard()[0] is None
    fitted = fit(waves(), Settings(**QUICK), tmp_path / "m.safetensors")
    assert sum("TensorBoard is installed, but gets no events" in n for n in fitted.report["notes"]) == 1
    assert (tmp_path / "m.safetensors").exists()
    monkeypatch.setattr(curves, "installed", lambda name: False)
    assert tensorboard() == (None, [])


@pytest.mark.filterwarnings("ignore")  # TensorBoard's own
def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for n in (1, 2, 3):
        to_tensorboard(tmp_path, ROWS[:n], n - 1)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [(e.step, e.value) for e in events.Scalars("validation_loss/seed4")]
    assert found == [(r["epoch"], pytest.approx(r["validation_loss"])) for r in ROWS]
