"""The README's Python does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
