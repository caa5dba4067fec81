"""The whole audit on a real pipeline: it passes clean, and names each of six planted leaks."""

from pathlib import Path

import pytest

from benchmarks.leakage_audit import EVALUATED, PLANTS, TRAINED, run
from harness.leakage.findings import Audit
from tests.real import real_instance


@pytest.mark.slow
def test_a_clean_audit_passes_and_each_planted_leak_is_named(tmp_path: Path) -> None:
    real_instance("process")  # skips where process sandboxes do not run
    results = run(tmp_path / "made")
    assert {name: one["as_expected"] for name, one in results.items()} == dict.fromkeys(
        ["clean", *PLANTS], True
    ), results
    assert results["clean"]["failed"] == {}
    assert len(PLANTS) == 6
    for name, plant in PLANTS.items():
        assert plant.check in results[name]["failed"], results[name]
    page = (tmp_path / "made" / "audits" / "clean" / "index.html").read_text()
    assert "Passed: 9 checks of 11 ran" in page
    written = (tmp_path / "made" / "audits" / "clean" / "audit.json").read_bytes()
    figures = {one.name: one.figures for one in Audit.model_validate_json(written).checks}
    assert figures["pi_provenance"]["pi_records"] == 2 * len(TRAINED)
    assert figures["filter"]["evaluation_instances"] == len(EVALUATED)
