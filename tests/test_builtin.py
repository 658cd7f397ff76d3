"""The models that come with the package: whole, small, named everywhere a model is, and as good as their cards say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from streamrnn import Engine, Model
from streamrnn.cli.models import load
from streamrnn.errors import ConfigError, ModelError
from streamrnn.model.builtin import BUILTINS, builtin_path, model_path
from streamrnn.simulate import ward

ROOT = Path(__file__).parents[1]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamrnn", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def tokens(text: str) -> list[int]:
    alphabet = Model.builtin("text").spec.provenance["alphabet"]
    return [alphabet.find(c) + 1 for c in text]


def test_they_are_files_of_the_package_and_small() -> None:
    here = files("streamrnn.model.builtin")
    found = sorted(p.name.removesuffix(".safetensors") for p in here.iterdir() if p.name.endswith(".safetensors"))
    assert tuple(found) == BUILTINS == Model.builtins()
    assert sum(builtin_path(name).stat().st_size for name in BUILTINS) < 300_000


@pytest.mark.parametrize("name", BUILTINS)
def test_each_has_a_card_and_was_compared_with_torch(name: str) -> None:
    model = Model.builtin(name)
    assert model.spec.provenance["parity"]["max_difference"] < 1e-4
    card = (ROOT / "docs" / "models" / f"{name}.md").read_text()
    assert f'Model.builtin("{name}")' in card and "## Limits" in card
    assert f"models/{name}.md" in (ROOT / "docs" / "models.md").read_text()


@pytest.mark.parametrize("name", BUILTINS)
def test_the_card_in_the_package_says_what_the_page_and_the_model_say(name: str) -> None:
    model, page = Model.builtin(name), (ROOT / "docs" / "models" / f"{name}.md").read_text()
    card = (files("streamrnn.model.builtin") / f"{name}.md").read_text()
    assert card.startswith(f"# The model `{name}`") and "## Limits" in card and f'Model.builtin("{name}")' in card
    assert f"{model.parameters:,} numbers" in card
    assert f"{model.spec.detector['threshold']:.3f}" in card
    table = [line for line in card.splitlines() if line.startswith("| ")]
    figures = {found for line in table for found in re.findall(r"\d+\.\d+|\d+,\d+|\d+ %", line)}
    assert len(figures) >= 3
    assert [found for found in figures if found not in page] == []
    said = run("info", name, "--card")
    assert (said.returncode, said.stdout, said.stderr) == (0, card, "")
    assert f"streamrnn info {name} --card" in run("info", name).stdout


def test_what_is_no_model_of_the_package_has_no_card() -> None:
    said = run("info", "adaptive", "--card")
    assert (said.returncode != 0, said.stdout) == (True, "")
    assert "no card; the built-in models have one: text, vitals" in said.stderr
    assert json.loads(run("info", "adaptive", "--json").stdout)["card"] is None


def test_vitals_follow_the_channels_and_say_how_sure_they_are() -> None:
    model = Model.builtin("vitals")
    feed = ward(beds=1, seconds=400, seed=3, calm=400, channels=model.spec.features)
    y = Engine(model).step_many(["bed"] * len(feed), feed.x).y
    error = np.abs(y[60:-1, :4] - feed.x[61:])
    assert np.nanmean(error) < 1.0
    spread = y[60:, 4:]
    assert (spread > 0.05).all() and (spread < 20).all()
    assert 0.6 < np.nanmean(error <= 1.645 * spread[:-1]) <= 1.0


def test_text_is_surprised_by_code_and_another_language_and_not_by_prose() -> None:
    engine = Engine(Model.builtin("text"))
    prose = "The function returns a new list that contains the elements of the given sequence in reverse order. "
    streams = {
        "prose": prose * 3,
        "code": prose + "for i in range(len(x)):\n    y[i] = fma(w[k], x[i], y[i])\n    if y[i] < 0: break\n" * 3,
        "German": prose + "Gestern haben wir im Garten gesessen und ueber die alten Zeiten gesprochen. " * 3,
    }
    flagged = {}
    for name, text in streams.items():
        out = engine.step_many([name] * len(text), tokens(text))
        flagged[name] = out.flag.any()
    assert flagged == {"prose": False, "code": True, "German": True}


def test_they_are_named_where_a_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("vitals").fingerprint == Model.builtin("vitals").fingerprint
    with pytest.raises(ConfigError, match=r"no model file 'vital'.*text, vitals"):
        model_path("vital")
    with pytest.raises(ModelError, match="no built-in model 'nothing'; there are text, vitals"):
        Model.builtin("nothing")
    monkeypatch.chdir(tmp_path)
    Model.random(n_in=2, hidden=3).save("vitals")
    assert model_path("vitals") == builtin_path("vitals")
    assert load("./vitals").spec.n_in == 2


def test_info_and_score_take_a_name(tmp_path: Path) -> None:
    said = run("info", "vitals", "--json")
    assert (said.returncode, json.loads(said.stdout)["features"]) == (0, ["hr", "pulse", "resp", "spo2"]), said.stderr
    source, out = tmp_path / "bed.csv", tmp_path / "out.csv"
    rows = [f"{i},{80 + i % 2},80,16,{'' if i % 7 == 0 else 97}" for i in range(50)]
    source.write_text("\n".join(["time_s,hr,pulse,resp,spo2", *rows]) + "\n")
    said = run("score", str(source), "--model", "vitals", "--columns", "hr,pulse,resp,spo2", "-o", str(out))
    assert said.returncode == 0, said.stderr
    assert len(out.read_text().splitlines()) == 51


def test_the_demo_shows_the_channels_of_its_model() -> None:
    said = run("demo", "--model", "vitals", "--headless", "--json", "--seconds", "4", "--beds", "3")
    assert said.returncode == 0, said.stderr
    summary = json.loads(said.stdout)
    assert (summary["model"], summary["samples"] > 1000) == ("vitals", True)
    said = run("demo", "--model", "text", "--headless", "--seconds", "2")
    assert said.returncode != 0
    assert "the model takes 1 columns (character)" in said.stderr


def test_a_ward_with_a_pulse_is_the_ward_otherwise() -> None:
    usual, other = (
        ward(beds=2, seconds=900, seed=5),
        ward(beds=2, seconds=900, seed=5, channels=("hr", "pulse", "resp", "spo2")),
    )
    np.testing.assert_array_equal(usual.x[:, [0, 2, 1]], other.x[:, [0, 2, 3]])
    assert np.nanmedian(np.abs(other.x[:, 0] - other.x[:, 1])) <= 2
    assert not any(set(f.channels) == {"abp"} for f in other.faults)
    with pytest.raises(ConfigError, match="the ward shows hr, spo2, resp, abp, pulse"):
        ward(channels=("hr", "mood"))
