"""The card shows what a run recorded, whatever its shape, and says what it did not."""

from pathlib import Path
from typing import Any

import yaml

from harness.reports.card import FACT_CAP, ROW_CAP, cards, notes, tree
from harness.reports.load import load_run
from tests.reports.report_builder import RunBuilder, make_instances


def test_a_tree_has_a_row_for_every_leaf() -> None:
    value = {"a": {"b": 1, "c": [1, 2]}, "d": [{"e": None}, True], "f": {}}
    assert list(tree(value)) == [
        ("a.b", "1"),
        ("a.c", "1, 2"),
        ("d.0.e", "none"),
        ("d.1", "yes"),
        ("f", "(empty)"),
    ]


def test_secrets_are_withheld_and_token_counts_are_not() -> None:
    rows = dict(tree({"api_key": "k", "model": {"OPENAI_API_KEY": "k"}, "max_tokens": 5}))
    assert rows == {
        "api_key": "(withheld)",
        "model.OPENAI_API_KEY": "(withheld)",
        "max_tokens": "5",
    }


def test_values_that_refer_to_themselves_end() -> None:
    value: dict[str, Any] = yaml.safe_load("a: &a {b: *a, c: [1, {d: *a}]}")
    assert len(list(tree(value))) <= ROW_CAP + 1
    bomb = "x: &l0 [1]\n" + "".join(
        f"y{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 9)
    )
    assert len(list(tree(yaml.safe_load(bomb)))) == ROW_CAP + 1


def test_facts_that_runs_share_are_told_once(tmp_path: Path) -> None:
    instances = make_instances(2)
    runs = [load_run(RunBuilder(tmp_path / n, n, instances).folder) for n in ("gold", "noop")]
    common, (gold, noop) = cards(runs)
    assert "Suite" in {fact.label for fact in common}
    assert gold.command.value == "harness eval --method gold --suite shapes-mini"
    assert noop.command.file == "run.yaml"
    assert not {fact.label for fact in common} & {fact.label for fact in gold.facts}


def test_what_was_not_recorded_is_said(tmp_path: Path) -> None:
    build = RunBuilder(tmp_path / "run", "mini", make_instances(1))
    build.folder.config.write_text("notes: [A small model., 3]\nmachine: &m {self: *m}\n")
    build.folder.lock.unlink()
    run = load_run(build.folder)
    _, (card,) = cards([run])
    facts = {fact.label: fact for fact in card.facts}
    assert card.command.value == "not recorded (command in run.yaml)"
    assert facts["Grader"].value == "not recorded (grader in lock.json)"
    assert facts["Hardware"].value.count("nested too deep") <= FACT_CAP
    assert notes(run) == ("A small model.",)
