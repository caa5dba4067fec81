"""Datasets on the hub: the real client libraries against a hub on this machine."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from harness.suites import SuiteError, load_suite
from tests.conftest import make_instance
from tests.suites.fake_hub import COMMIT, DATASET, fake_hub

LOAD = """
import sys
from harness.suites import SuiteError, load_suite
for reference in sys.argv[1:]:
    try:
        suite = load_suite(reference)
    except SuiteError as error:
        print("error", error)
    else:
        print(suite.name, suite.split, suite.revision, len(suite.instances), suite.sha256)
"""


def load_in_a_process(endpoint: str, home: Path, *references: str) -> list[str]:
    """The libraries read their settings at import, so each hub needs its own process."""
    pytest.importorskip("datasets")
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *references],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.splitlines()


def test_rows_come_with_the_commit_they_are_of(tmp_path: Path) -> None:
    row = make_instance().model_dump(exclude={"image_assets"})
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist([row]), sink)
    local = tmp_path / "same.parquet"
    local.write_bytes(sink.getvalue())
    with fake_hub(sink.getvalue()) as endpoint:
        whole, at_main, unknown = load_in_a_process(
            endpoint, tmp_path / "home", DATASET, f"{DATASET}@main", "owner/none"
        )
    assert whole == f"{DATASET} test {COMMIT} 1 {load_suite(str(local)).sha256}"
    assert at_main == whole
    assert "owner/none, split test: the hub gave no rows (RepositoryNotFoundError" in unknown


def test_an_unreachable_hub_says_how_to_go_on(tmp_path: Path) -> None:
    (line,) = load_in_a_process("http://127.0.0.1:9", tmp_path, "owner/tiny")
    assert "the hub gave no rows (ConnectError" in line
    assert "name the file: a path that ends in .parquet or .jsonl" in line


def test_a_missing_library_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SuiteError, match=r"run: pip install datasets"):
        load_suite("owner/tiny")
