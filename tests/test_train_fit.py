"""Training end to end on small recordings: it learns, repeats itself, goes on, goes back, and keeps the best."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra train)")

from recordings import echoes, waves

from streamrnn import Engine, Model
from streamrnn.errors import ConfigError
from streamrnn.train import Recording, Settings, fit
from streamrnn.train.calibrate import Rate, alarms, calibrate
from streamrnn.train.losses import Loss
from streamrnn.train.measures import auroc, measure

torch.set_num_threads(1)

SMALL = Settings(hidden=12, epochs=6, chunk=32, rate=1e-2, warmup=10, features=("a", "b"))


def equal(a, b):
    return all((a.arrays[name] == b.arrays[name]).all() for name in a.arrays)


def refused(text):
    return pytest.raises(ConfigError, match=text)


@pytest.mark.parametrize("loss", ["gaussian", "mse", "huber", "quantile"])
def test_a_forecaster_beats_the_last_value(loss):
    fitted = fit(waves(missing=0.02), replace(SMALL, loss=loss))
    found = fitted.report["test"]["channels"]
    assert all(channel["skill"] > 0.3 for channel in found.values()), found
    assert fitted.report["parity"]["max_difference"] <= 1e-5
    assert fitted.model.spec.provenance["parity"] == fitted.report["parity"]
    if loss == "gaussian":
        assert all(0.8 < channel["coverage_90"] < 0.98 for channel in found.values()), found
    if loss == "quantile":
        assert all(0.65 < channel["coverage"] < 0.92 for channel in found.values()), found


def test_a_further_horizon():
    fitted = fit(waves(), replace(SMALL, horizon=6, loss="mse"))
    assert fitted.model.spec.horizon == 6
    assert all(channel["skill"] > 0.5 for channel in fitted.report["test"]["channels"].values())


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_classifier_learns_to_remember(cell):
    settings = Settings(head="classify", cell=cell, hidden=10, epochs=12, rate=1e-2, classes=("no", "yes"))
    fitted = fit(echoes(), settings)
    assert fitted.report["test"]["accuracy"] > 0.85
    assert fitted.report["test"]["classes"]["yes"]["auroc"] > 0.9
    assert fitted.model.spec.provenance["classes"] == ["no", "yes"]


def test_balanced_classes_find_the_rare_one():
    rare = []
    for r in echoes(length=500):
        keep = (r.target == 0) | ((r.target == 1) & (np.arange(len(r)) % 9 == 0))
        rare.append(Recording(r.stream, r.x, None, np.where(keep, r.target, -1)))
    settings = Settings(head="classify", hidden=8, epochs=4, rate=1e-2, class_weights="balanced")
    balanced = fit(rare, settings).report["test"]["classes"]["1"]["recall"]
    assert balanced > fit(rare, replace(settings, class_weights="none")).report["test"]["classes"]["1"]["recall"]
    assert balanced > 0.5


def test_a_regression_is_in_the_targets_own_units():
    recordings = []
    for r in echoes():
        past = np.concatenate([[[0.0]], r.x[:-1]])
        recordings.append(Recording(r.stream, r.x, None, np.concatenate([1000 + 50 * past, r.x], 1).astype(np.float32)))
    fitted = fit(recordings, Settings(head="regress", hidden=12, epochs=25, rate=2e-2, targets=("past", "now")))
    assert all(target["r2"] > 0.9 for target in fitted.report["test"]["targets"].values()), fitted.report["test"]
    y = Engine(fitted.model).step("s", [0.0]).y
    assert 900 < y[0] < 1100


def test_tokens_that_follow_a_rule_surprise_where_they_break_it():
    rng = np.random.default_rng(0)
    recordings = []
    for i in range(5):
        x = (np.cumsum(rng.integers(1, 3, 400)) % 8).astype(np.float32)
        recordings.append(Recording(f"s{i}", x[:, None]))
    settings = Settings(tokens=8, embedding=8, hidden=12, epochs=8, rate=1e-2, false_alarms="5/1000")
    fitted = fit(recordings, settings)
    assert fitted.report["test"]["bits"] < 1.2  # one of two tokens: 1 bit
    assert fitted.model.spec.detector["surprise_mean"] == pytest.approx(fitted.report["validation"]["bits"], rel=0.05)
    engine = Engine(fitted.model)
    usual = engine.step_many(["a"] * 300, recordings[0].x[:300])
    odd = engine.step_many(["b"] * 300, rng.integers(0, 8, (300, 1)).astype(np.float32))
    assert odd.flag.any()
    assert odd.score[50:].mean() > 5 * usual.score[50:].mean()


def test_a_seed_repeats_and_another_differs():
    settings = replace(SMALL, epochs=2, dropout=0.1)
    first, state = fit(waves(), settings), torch.random.get_rng_state()
    torch.rand(3)
    assert equal(first.model, fit(waves(), settings).model)
    assert not equal(first.model, fit(waves(), replace(settings, seed=1)).model)
    torch.random.set_rng_state(state)
    fit(waves(), settings)
    assert torch.equal(state, torch.random.get_rng_state())  # the caller's numbers are its own


def test_several_seeds_report_their_spread_and_the_best_is_kept():
    fitted = fit(waves(), replace(SMALL, epochs=2, seeds=3, seed=5))
    losses = {s["seed"]: s["validation_loss"] for s in fitted.report["seeds"]}
    assert list(losses) == [5, 6, 7]
    assert fitted.report["seed"] == min(losses, key=losses.get)
    assert fitted.report["validation_loss_sd"] == pytest.approx(np.std(list(losses.values()), ddof=1))
    assert len(fitted.history) == 6


def test_splits_may_be_given():
    every = waves(streams=5)
    fitted = fit(every[:3], SMALL, validation=every[3:4], test=every[4:])
    assert fitted.report["split"] == "as given"
    assert fitted.report["test"] == measure(fitted.model, every[4:])
    assert fit(every[:4], replace(SMALL, epochs=1), test=every[4:]).report["split"].startswith("test as given")


def test_going_on_from_a_checkpoint_gives_the_run_that_never_stopped(tmp_path):
    settings = replace(SMALL, epochs=4, schedule="plateau", seeds=2, dropout=0.1)
    whole = fit(waves(), settings, out=tmp_path / "a.safetensors")

    def after(n):
        def progress(p):
            if (p.seed, p.epoch) == n and not p.ended:
                raise KeyboardInterrupt

        return progress

    stopped = fit(waves(), settings, tmp_path / "b.safetensors", after((1, 3)))
    assert stopped.interrupted
    assert Model.load(tmp_path / "b.safetensors").fingerprint == stopped.model.fingerprint
    resumed = fit(waves(), settings, tmp_path / "b.safetensors", resume=True)
    assert equal(whole.model, resumed.model)
    assert [r["validation_loss"] for r in whole.history] == [r["validation_loss"] for r in resumed.history]
    names = {p.name for p in (tmp_path / "b.train").iterdir()}
    assert names >= {"checkpoint.safetensors", "curves.csv", "report.json"}
    assert json.loads((tmp_path / "b.train" / "report.json").read_text())["seeds"] == resumed.report["seeds"]
    assert len((tmp_path / "b.train" / "curves.csv").read_text().splitlines()) == 9
    with refused("made with hidden"):
        fit(waves(), replace(settings, hidden=13), tmp_path / "b.safetensors", resume=True)
    with refused("other data"):
        fit(waves(seed=1), settings, tmp_path / "b.safetensors", resume=True)
    with refused("no checkpoint"):
        fit(waves(), settings, tmp_path / "c.safetensors", resume=True)
    path = tmp_path / "b.train" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with refused("damaged"):
        fit(waves(), settings, tmp_path / "b.safetensors", resume=True)


def test_ctrl_c_before_the_first_epoch_leaves_nothing(tmp_path):
    def progress(p):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(waves(), SMALL, tmp_path / "a.safetensors", progress)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_goes_back_and_says_so(monkeypatch):
    calls, notes = [], []
    ordinary = Loss.__call__

    def poisoned(self, raw, goal, mask):
        loss, n = ordinary(self, raw, goal, mask)
        calls.append(raw.requires_grad)
        return (loss * math.nan if raw.requires_grad and sum(calls) == 70 else loss), n

    monkeypatch.setattr(Loss, "__call__", poisoned)
    fitted = fit(waves(), replace(SMALL, epochs=4), progress=lambda p: notes.extend(p.notes))
    assert len(notes) == 1
    assert "no finite number" in notes[0]
    assert "0.5 of the rate" in notes[0]
    assert fitted.report["seeds"][0]["went_back"] == 1
    assert all(np.isfinite(a).all() for a in fitted.model.arrays.values())
    assert sum(r["went_back"] for r in fitted.history) == 1


def test_a_rate_that_blows_up_goes_back_until_it_is_small_enough():
    notes = []
    settings = replace(SMALL, rate=5.0, clip=0.0, warmup=0, loss="mse", cell="rnn_relu", epochs=6, retries=60)
    fitted = fit(waves(), settings, progress=lambda p: notes.extend(p.notes))
    assert notes
    assert fitted.report["seeds"][0]["went_back"] == len(notes)
    assert all(np.isfinite(a).all() for a in fitted.model.arrays.values())


def test_training_that_gets_nowhere_says_what_to_change(monkeypatch):
    ordinary = Loss.__call__

    def poisoned(self, raw, goal, mask):
        loss, n = ordinary(self, raw, goal, mask)
        return (loss * math.nan if raw.requires_grad else loss), n

    monkeypatch.setattr(Loss, "__call__", poisoned)
    with refused(r"got nowhere .* smaller rate \(--rate, now 0.01\)"):
        fit(waves(), SMALL)


def test_the_share_of_clipped_steps_is_reported():
    assert fit(waves(), replace(SMALL, epochs=1, clip=1e-6)).report["seeds"][0]["clipped"] == 1.0
    assert fit(waves(), replace(SMALL, epochs=1, clip=0.0)).report["seeds"][0]["clipped"] == 0.0


def test_it_stops_early_where_nothing_gets_better():
    noise = [Recording(f"s{i}", np.random.default_rng(i).normal(size=(200, 1)).astype(np.float32)) for i in range(4)]
    fitted = fit(noise, Settings(hidden=4, epochs=200, patience=3, persist=False, rate=3e-2))
    (seed,) = fitted.report["seeds"]
    assert seed["epochs"] < 100
    assert seed["ended"] == "no better for 3 epochs"


def test_a_rate_that_no_threshold_reaches_is_said_and_flags_may_still_clear():
    """Down at 0.001 a flag stays up, which is one alarm: few alarms there are no reason to go there."""
    model = Model.builtin("vitals")
    rng = np.random.default_rng(4)
    walk = np.cumsum(rng.normal(size=(3, 600, 4)) * [0.4, 0.4, 0.1, 0.05], 1)
    x = walk + np.array([80.0, 80.0, 16.0, 97.0])
    bay = [Recording(f"s{i}", np.round(v).astype(np.float32)) for i, v in enumerate(x)]
    _, found = calibrate(model, Rate(500.0, "k"), bay, [])
    assert not found["reached"]
    most = found["validation"]["alarms"]
    for times in (2.0, 4.0, 8.0):
        there = {**model.spec.detector, "threshold": times * found["threshold"]}
        assert alarms(Model(replace(model.spec, detector=there), model.arrays), bay) < most
    assert found["threshold"] > 1e-3
    _, tighter = calibrate(model, Rate(1.0, "k"), bay, [])
    assert tighter["reached"]
    assert tighter["validation"]["alarms"] <= 1.8
    assert tighter["threshold"] > found["threshold"]


def test_recordings_in_two_parts_are_named():
    every = waves()
    fitted = fit(every[:4], replace(SMALL, epochs=1), validation=every[3:5], test=every[5:])
    assert "stream 's3' of the validation data holds the same samples as one of the training data" in " ".join(
        fitted.report["notes"]
    )
    apart = fit(every[:3], replace(SMALL, epochs=1), validation=every[3:4], test=every[4:])
    assert not any("same samples" in note for note in apart.report["notes"])


def test_a_threshold_for_stated_false_alarms():
    recordings = waves(streams=6, length=1500)
    fitted = fit(recordings, replace(SMALL, epochs=2, false_alarms="4/h", parts=(0.3, 0.4, 0.3)))
    found = fitted.report["false_alarms"]
    assert found["per"] == "an hour of a stream"
    assert found["validation"]["rate"] <= 4
    assert found["validation"]["exposure"] == pytest.approx(1.03, abs=0.15)
    assert found["test"]["rate_low"] <= found["test"]["rate"] <= found["test"]["rate_high"]
    assert fitted.model.spec.detector["threshold"] == found["threshold"]
    looser = fit(recordings, replace(SMALL, epochs=2, false_alarms="60/h", parts=(0.3, 0.4, 0.3)))
    assert looser.report["false_alarms"]["threshold"] < found["threshold"]
    with refused("of an alarm, and at least one is needed"):
        fit(recordings, replace(SMALL, false_alarms="0.01/h"))
    with refused("no times, so no hours"):
        fit(waves(timed=False), replace(SMALL, false_alarms="1/h"))
    with refused("write 0.5/h"):
        fit(recordings, replace(SMALL, false_alarms="often"))


def test_every_labelled_sample_is_learned_from_once_an_epoch():
    from streamrnn.train.batches import Batch, plan
    from streamrnn.train.ready import make_ready

    settings = Settings(head="classify", piece=100, chunk=32, batch=3)
    ready = make_ready(echoes(streams=9, length=150), settings)
    first = plan(ready.train, settings, np.random.default_rng(1))
    assert first != plan(ready.train, settings, np.random.default_rng(2))
    learned, padded = 0, 0
    for pieces in first:
        assert len(pieces) <= 3
        batch = Batch(ready.train, pieces)
        learned += batch.mask.sum()
        padded += sum(len(batch.x) - (b - a) for _, a, b in pieces)
        chunks = list(batch.chunks(32, "cpu", 1))
        assert [len(c.x) for c in chunks[:-1]] == [32] * (len(chunks) - 1)
        assert torch.equal(torch.cat([c.goal for c in chunks]), torch.from_numpy(batch.goal))
    assert not Batch(ready.train, first[0], burn_in=7).mask[:7].any()
    assert learned == sum(s.mask.sum() for s in ready.train)
    assert sorted(p for pieces in first for p in pieces)[0][:2] == (0, 0)
    # Pieces of like lengths: little of a batch is padding.
    assert padded < 0.15 * sum(len(s) for s in ready.train)


def test_a_device_that_is_not_there():
    if not torch.cuda.is_available():
        with refused("--device cpu"):
            fit(waves(), replace(SMALL, device="cuda"))


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    score, yes = rng.integers(0, 5, 60), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in score[yes] for b in score[~yes]]
    assert auroc(score, yes) == pytest.approx(np.mean(pairs))
    assert math.isnan(auroc([1, 2], [True, True]))
