"""The proofs in examples/train/ run in their short form: they train, the engine judges, a table comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "train"
ASKED = {
    "vitals": ("horizons", "| 1 s | last value, own spread |"),
    "ecg": ("all", "AUROC by patient"),
    "ticks": ("horizons", "| 0.1 s | linear |"),
    "text": ("messages", "false flags"),
}
NO_DATA = 77


def run(name: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *args]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=ROOT, env=environment, check=False)


@pytest.mark.parametrize("name", ASKED)
def test_a_short_run(name: str, tmp_path: Path) -> None:
    said = run(name, "--quick", "--json", str(tmp_path / "report.json"), "-o", str(tmp_path / "model.safetensors"))
    if said.returncode == NO_DATA:
        pytest.skip(said.stdout.strip())
    assert said.returncode == 0, said.stderr
    key, words = ASKED[name]
    assert words in said.stdout
    assert json.loads((tmp_path / "report.json").read_text())[key]
    assert (tmp_path / "model.safetensors").stat().st_size > 1000


@pytest.mark.parametrize("name", ["vitals", "ecg", "ticks"])
def test_without_recordings_it_is_skipped_with_the_reason(name: str, tmp_path: Path) -> None:
    said = run(name, "--quick", STREAMRNN_DATA=str(tmp_path))
    assert said.returncode == NO_DATA
    assert said.stdout.startswith("skipped: there are no recordings in ")
    assert "STREAMRNN_DATA" in said.stdout


def test_each_has_a_page_with_its_command_and_figure() -> None:
    index = (ROOT / "docs" / "models.md").read_text()
    proofs = {p.stem for p in EXAMPLES.glob("*.py")} - {"common", "corpus"}
    assert proofs == set(ASKED)
    for name in proofs:
        page = (ROOT / "docs" / "models" / f"{name}.md").read_text()
        assert f"python examples/train/{name}.py" in page
        assert f"({name}.png)" in page
        assert (ROOT / "docs" / "models" / f"{name}.png").stat().st_size < 150_000
        assert f"models/{name}.md" in index
