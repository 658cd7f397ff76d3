"""The README's Python does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamrnn import Engine
from streamrnn.kernels.score import COMPONENTS

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
(LIBRARY,) = [block for block in BLOCKS if "Engine(" in block]


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_python(block: str) -> None:
    compile(block, "README.md", "exec")


def test_the_library_flags_the_drop_and_prints_what_the_readme_says(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(LIBRARY, names)
    out = names["out"]
    assert out.flag is True
    assert out.cause == "spo2:envelope"
    says = re.findall(r"^# (.*)$", LIBRARY, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == says


def test_the_code_about_speed_runs_and_its_detector_is_off() -> None:
    text = (Path(__file__).parents[1] / "docs/speed.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(block, names)
    assert len(names["out"]) == 1000
    assert set(names["off"]) == set(COMPONENTS) - {"surprise"}, "all that judge channels"
    engine = Engine(names["quiet"])
    assert not any(engine.step("s", [1e9 * (i == 99), 0, 0, 0]).score for i in range(100))


def test_the_commands_of_the_live_feed_fit_together(tmp_path: Path) -> None:
    commands = [line.partition("#")[0].split()[1:] for line in README.splitlines() if " .venv/bin/streamrnn s" in line]
    (simulate,) = [words for words in commands if words[0] == "simulate"]
    (serve,) = [words for words in commands if words[0] == "serve"]
    (publish,) = re.findall(r"bin/streamrnn publish (.*?) +#", README)
    score, *_ = re.findall(r"`streamrnn (score .*?)`", README)

    def run(words: list[str]) -> None:
        command = [sys.executable, "-m", "streamrnn", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr

    run(simulate)
    name = publish.split()[0]
    header = (tmp_path / name).read_text().splitlines()[0].split(",")
    assert serve[serve.index("--features") + 1].split(",") == header[1:]
    run(score.split())
    rows = (tmp_path / "scored.csv").read_text().splitlines()
    assert len(rows) == 1801
    assert any(row.split(",")[-2] == "1" for row in rows)
