"""The page of a diagnosis, from its files."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.reports.diagnostics import write_diagnosis

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def _number(value: float, unit: str | None = "") -> dict[str, Any]:
    found: dict[str, Any] = {"value": value, "low": value - 0.1, "high": value + 0.1}
    found |= {"level": 0.95, "n": 7, "method": "bootstrap"}
    return found if unit is None else found | {"unit": unit}


def _write(folder: Path, **changes: Any) -> None:
    (folder / "plots").mkdir()
    (folder / "plots" / "deciles.svg").write_text(SVG)
    data = {
        "schema_version": 1,
        "subject": "trained/<chop>",
        "student at step": 8,
        "options": {"states": 12},
        "data": {"trajectories": 3},
        "not_shown": {"resets": "no outcomes: run resets.jsonl"},
        "reliability": {"mean rho": _number(0.4), "untrusted share": _number(0.3, None)},
        "deciles": [{"decile": 1, "kl": _number(2.5, "nats")}, {"decile": 2, "kl": None}],
        "alpha_diag": None,
        "plots": ["plots/deciles.svg"],
    }
    (folder / "diagnostics.json").write_text(json.dumps(data | changes))


def test_sections_that_there_are_numbers_for(tmp_path: Path) -> None:
    _write(tmp_path)
    text = write_diagnosis(tmp_path).read_text()
    assert "trained/&lt;chop&gt;" in text
    assert "resets: no outcomes: run resets.jsonl" in text
    assert "0.400 [0.300 to 0.500]" in text
    assert "30.0% [20.0% to 40.0%]" in text
    assert "2.500 [2.400 to 2.600] nats" in text
    assert 'id="reliability"' in text
    assert 'id="alpha"' not in text
    assert "<script" not in text
    assert text.count("data:image/svg+xml;base64,") == 1


def test_other_files_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, schema_version=2)
    with pytest.raises(ValueError, match="no diagnosis of this version"):
        write_diagnosis(tmp_path)
