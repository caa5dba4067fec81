"""Question suites on the hub: the real client libraries against a hub on this machine."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.suites.fake_hub import COMMIT, DATASET, fake_hub

LOAD = """
import sys
from harness.questions.load import load_questions
from harness.suites.errors import SuiteError
for mapping in sys.argv[1:]:
    try:
        found = load_questions(mapping)
    except SuiteError as error:
        print("the hub gave no rows" in str(error))
    else:
        print(found.suite.revision, found.suite.split, [one.patch for one in found.suite.instances])
"""
MAPPING = f"""
name: mine
title: t
kind: math
licence: l
schema_source: s
dataset: {DATASET}
columns: {{id: n, question: [q], answer: a}}
"""


def test_a_suite_from_the_hub_with_and_without_named_files(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist([{"n": 1, "q": "1 + 1?", "a": "2"}]), sink)
    plain, files, none = (tmp_path / f"{name}.yaml" for name in ("plain", "files", "none"))
    plain.write_text(MAPPING)
    files.write_text(f"{MAPPING}files: data/{{split}}-*.parquet\n")
    none.write_text(f"{MAPPING}files: other/{{split}}-*.parquet\n")
    with fake_hub(sink.getvalue()) as endpoint:
        environment = os.environ | {
            "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "*",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", LOAD, str(plain), str(files), str(none)],
            env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert done.stdout.splitlines() == [f"{COMMIT} test ['2']"] * 2 + ["True"], done.stderr
