"""Triples from whole runs: every model call is a row or is counted with its reason."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.datagen.snapshots import Snapshots
from harness.datagen.triples import make_triples
from harness.datagen.triples_actions import read_answer
from harness.datagen.triples_gate import Gate, TriplesError, make_gate
from harness.datagen.triples_pi import PITexts
from harness.datagen.triples_report import TriplesReport
from harness.datagen.triples_rows import FIELDS, read_metadata, schema
from harness.datagen.triples_spans import TokenSpans
from harness.leakage.filter import filter_rows, write_filtered
from harness.leakage.filter_rows import RowSource
from harness.records import Instance
from pi_extractors.base import ExtractionError
from pi_extractors.gold_patch import GoldPatchSource
from pi_extractors.next_file import NextFileSource
from pi_extractors.records import PIRecord, SourceName
from pi_extractors.snapshot import GitSnapshot
from pi_extractors.tokens import Estimate
from tests.conftest import make_instance
from tests.datagen.trajectories import Turn, edit, response, write_run
from tests.leakage.filter_suites import diff, row, source

SOURCE = '"""Module {name}."""\n\n\ndef f():\n    return {name}\n'
VIEW = ("terminal", {"command": "ls"})


def gold(*names: str) -> str:
    """A gold patch of some modules."""
    return "".join(
        f"diff --git a/pkg/{one}.py b/pkg/{one}.py\n--- a/pkg/{one}.py\n+++ b/pkg/{one}.py\n"
        f"@@ -4,2 +4,2 @@\n def f():\n-    return {one}\n+    return {one} + 1\n"
        for one in names
    )


def fix(name: str, value: str = " + 1") -> tuple[str, dict[str, str]]:
    """The edit of a module."""
    path = f"/testbed/pkg/{name}.py"
    return edit(f"def f():\n    return {name}\n", f"def f():\n    return {name}{value}\n", path)


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with the repository of `owner/pkg`, and its commit."""
    folder = tmp_path_factory.mktemp("repos")
    root = folder / "owner__pkg"
    (root / "pkg").mkdir(parents=True)
    for name in "ab":
        (root / "pkg" / f"{name}.py").write_text(SOURCE.format(name=name))
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "base"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True)
    return folder, head.stdout.decode().strip()


@pytest.fixture
def instances(repos: tuple[Path, str]) -> list[Instance]:
    """Two instances of one repository."""
    return [
        make_instance(instance_id=f"owner__pkg-{n}", base_commit=repos[1], patch=gold("a", "b"))
        for n in (1, 2)
    ]


@pytest.fixture
def texts(tmp_path: Path, repos: tuple[Path, str], instances: list[Instance]) -> PITexts:
    """PI of two sources; the second instance has no record of the gold patch."""
    with_snapshot = GitSnapshot(repos[0] / "owner__pkg", repos[1])
    records = [NextFileSource().extract(one, with_snapshot) for one in instances]
    records.append(GoldPatchSource().extract(instances[0], with_snapshot))
    with_snapshot.close()
    return pi_texts(tmp_path, repos[0], records)


def pi_texts(folder: Path, repos: Path, records: list[PIRecord]) -> PITexts:
    """A file of records, opened."""
    path = folder / "pi.jsonl"
    path.write_text("".join(one.model_dump_json() + "\n" for one in records))
    snapshots = Snapshots(repos=repos, recipes={}, cache=folder / "cache")
    return PITexts(path, None, snapshots, Estimate())


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a source, as the `datasets` library reads them."""
    import datasets

    datasets.disable_progress_bars()
    table = datasets.load_dataset(
        "parquet",
        data_files=str(folder / "data" / f"{name}.parquet"),
        cache_dir=str(folder / "cache"),
        split="train",
    )
    return list(table)


def open_gate() -> Gate:
    """A gate that lets everything through."""
    return make_gate(None, None, strict=False, waived=True, rows=None)


GOOD = [
    Turn("Look.", [VIEW]),
    Turn("Mend a.", [fix("a")]),
    Turn("Mend b.", [fix("b", " - 1")]),
]
BAD = [
    Turn("No call."),
    Turn("", [fix("a")], ["ERROR:\nNo replacement was performed"]),
    Turn("", [fix("a")], []),
    Turn("", [edit("x", "y", "/testbed/setup.py")]),
    Turn("", [edit("nothing\n", "else\n", "/testbed/pkg/a.py")]),
    Turn("two\n```bash\na\n```\n```bash\nb\n```"),
    Turn("", status="failed"),
    Turn("summary", purpose="condenser"),
]


def test_every_call_is_a_row_or_counted(
    tmp_path: Path, instances: list[Instance], texts: PITexts
) -> None:
    """Two sources: `next_file` follows the edits, `gold_patch` lacks one instance."""
    run = write_run(
        tmp_path / "run", [(instances[0], 0, GOOD), (instances[0], 1, GOOD), (instances[1], 0, BAD)]
    )
    out = tmp_path / "out"
    report = make_triples([run], texts, open_gate(), out, empty_share=0.5)
    texts.close()
    assert report.calls == 14 == report.expert_calls + sum(report.dropped.values())
    assert report.dropped == {
        "duplicate": 2,
        "edit_failed": 1,
        "no_call": 1,
        "no_edit": 2,
        "no_overlap": 1,
        "not_a_turn": 1,
        "not_answered": 1,
        "not_carried_out": 1,
        "outside_gold": 1,
        "unreadable": 1,
    }
    assert (report.expert_states, report.rewritten) == (2, 1)
    assert report.alignments == {"exact": 1, "region": 1}
    assert TriplesReport.model_validate_json((out / "triples.json").read_text()) == report

    found = {one["turn"]: one for one in rows(out, "next_file")}
    assert sorted(one["pi_state"] for one in found.values()) == ["blanked", "given"]
    assert [found[2]["edited"], found[3]["edited"]] == [[], ["pkg/a.py"]]
    shown = {(one["turn"], one["pi_text"]) for one in found.values() if one["pi_state"] == "given"}
    assert shown < {(2, 'pkg/a.py\n"""Module a."""'), (3, 'pkg/b.py\n"""Module b."""')}
    for one in found.values():
        action = one["completion"][one["action_start"] : one["action_end"]]
        assert one["completion"].endswith(action)
        assert "return" in json.loads(action.split("\n")[1])["arguments"]["new_str"]
        assert json.loads(one["state"])["messages"][0]["content"] == "Mend it \u2026"
        assert len(json.loads(one["state"])["messages"]) == one["turn"]
    assert found[3]["rewritten"]
    assert "return b + 1" in found[3]["completion"]
    assert found[2]["completion"].startswith("Mend a.\n<tool_call>")


def test_next_file_is_made_at_every_step(
    tmp_path: Path, instances: list[Instance], texts: PITexts
) -> None:
    """Without blanked rows both texts are there."""
    run = write_run(tmp_path / "run", [(instances[0], 0, GOOD)])
    make_triples([run], texts, open_gate(), tmp_path / "out", empty_share=0.0)
    texts.close()
    assert {one["turn"]: one["pi_text"] for one in rows(tmp_path / "out", "next_file")} == {
        2: 'pkg/a.py\n"""Module a."""',
        3: 'pkg/b.py\n"""Module b."""',
    }


def test_an_instance_without_a_record_is_no_empty_row(
    tmp_path: Path, instances: list[Instance], texts: PITexts
) -> None:
    """It is dropped from that source alone, and counted."""
    run = write_run(tmp_path / "run", [(instances[1], 0, GOOD)])
    report = make_triples([run], texts, open_gate(), tmp_path / "out")
    texts.close()
    assert report.sources["gold_patch"].rows == 0
    assert report.sources["gold_patch"].dropped == {"no_pi": 2}
    assert report.sources["next_file"].rows == 2
    assert rows(tmp_path / "out", "next_file")


def test_the_same_inputs_give_the_same_bytes(
    tmp_path: Path, instances: list[Instance], texts: PITexts
) -> None:
    """Parquet, counts and card."""
    run = write_run(tmp_path / "run", [(instances[0], 0, GOOD), (instances[1], 0, BAD + GOOD)])
    for name in ("one", "two"):
        make_triples([run], texts, open_gate(), tmp_path / name)
    texts.close()
    for path in sorted((tmp_path / "one").rglob("*.*")):
        assert (
            path.read_bytes()
            == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
        )


def test_the_files_say_what_they_were_made_from(
    tmp_path: Path, instances: list[Instance], texts: PITexts
) -> None:
    """Schema metadata and the dataset card."""
    run = write_run(tmp_path / "run", [(instances[0], 0, GOOD)])
    make_triples([run], texts, open_gate(), tmp_path / "out")
    texts.close()
    told = read_metadata(tmp_path / "out" / "data" / "gold_patch.parquet")
    assert (told["schema_version"], told["pi_source"]) == (1, "gold_patch")
    assert told["gate"]["kind"] == "none"
    assert told["pi_sha256"] == texts.sha256
    card = (tmp_path / "out" / "README.md").read_text()
    assert "**Nothing was filtered**" in card
    assert all(f"`{name}`" in card for name in FIELDS)
    assert schema().names == list(FIELDS)
    with pytest.raises(TriplesError, match="exists"):
        make_triples([run], texts, open_gate(), tmp_path / "out")


def test_rejected_and_unknown_instances_are_refused(
    tmp_path: Path, instances: list[Instance], texts: PITexts
) -> None:
    """By the manifest of the filter: one kept, one rejected, one that it never saw."""
    stranger = instances[0].model_copy(update={"instance_id": "owner__pkg-3"})
    rejected = instances[1].model_copy(update={"base_commit": "a" * 40})
    train = source(tmp_path, "train", [one.model_dump() for one in (instances[0], rejected)])
    evaluation = source(tmp_path, "evaluation", [row(9, base_commit="a" * 40)])
    write_filtered(train, filter_rows(train, evaluation), tmp_path / "filtered")
    gate = make_gate(
        tmp_path / "filtered" / "filter.json", None, strict=False, waived=False, rows=None
    )
    run = write_run(
        tmp_path / "run", [(one, 0, GOOD) for one in (instances[0], rejected, stranger)]
    )
    report = make_triples([run], texts, gate, tmp_path / "out")
    texts.close()
    assert report.unused_attempts == {"filter:base_commit": 1, "not_in_filter": 1}
    assert {one["instance_id"] for one in rows(tmp_path / "out", "next_file")} == {"owner__pkg-1"}


@pytest.mark.parametrize(
    ("evaluated", "strict", "reason"),
    [
        ({"patch": diff("pkg/a.py")}, False, "filter:path"),
        ({"patch": diff("pkg/c.py")}, False, ""),
        ({"patch": diff("pkg/c.py")}, True, "filter:repository"),
    ],
)
def test_the_evaluation_suite_can_be_asked_itself(
    tmp_path: Path, instances: list[Instance], evaluated: dict[str, str], strict: bool, reason: str
) -> None:
    """The filter's rules, row by row."""
    suite: RowSource = source(tmp_path, "evaluation", [row(9, **evaluated)])
    gate = make_gate(None, str(suite.path), strict=strict, waived=False, rows=None)
    gate.see(instances)
    assert gate.refusal(instances[0]) == reason


def test_a_fork_of_the_evaluation_is_refused_whole(tmp_path: Path) -> None:
    """One instance has a commit of the evaluation, the other its path."""
    suite = source(tmp_path, "evaluation", [row(9, repo="up/stream", patch=diff("pkg/a.py"))])
    forked = make_instance(instance_id="o__f-1", repo="o/f", base_commit=f"{9:040x}")
    other = make_instance(instance_id="o__f-2", repo="o/f", patch=gold("a"))
    gate = make_gate(None, str(suite.path), strict=False, waived=False, rows=None)
    gate.see([forked, other])
    assert [gate.refusal(one) for one in (forked, other)] == ["filter:base_commit", "filter:path"]


def test_without_the_filter_there_are_no_rows() -> None:
    """Neither manifest nor suite nor waiver; or two of them."""
    with pytest.raises(TriplesError, match="name its filter"):
        make_gate(None, None, strict=False, waived=False, rows=None)
    with pytest.raises(TriplesError, match="only one"):
        make_gate(None, "pypi-mini/test", strict=False, waived=True, rows=None)


def test_two_runs_of_one_name_are_an_error(
    tmp_path: Path, instances: list[Instance], texts: PITexts
) -> None:
    """Rows name their run."""
    runs = [write_run(tmp_path / n / "run", [(instances[0], 0, GOOD)]) for n in ("x", "y")]
    with pytest.raises(TriplesError, match="two runs are named run"):
        make_triples(runs, texts, open_gate(), tmp_path / "out")
    texts.close()


def test_a_source_without_records_is_an_error(tmp_path: Path, texts: PITexts) -> None:
    """Rather than a file without rows."""
    texts.close()
    with pytest.raises(ExtractionError, match="no record of call_graph"):
        PITexts(tmp_path / "pi.jsonl", [SourceName.CALL_GRAPH], texts._snapshots, Estimate())


def test_a_terminal_is_where_the_trajectory_left_it(
    tmp_path: Path, instances: list[Instance], texts: PITexts
) -> None:
    """A relative path is of the folder in which the shell is by then."""
    program = "t = open('a.py').read().replace('    return a\\n', '    return a + 1\\n')\n"
    script = f"python - <<'E'\n{program}open('a.py', 'w').write(t)\nE"
    turns = [Turn("", [("terminal", {"command": one})]) for one in ("cd pkg", "ls", script)]
    run = write_run(tmp_path / "run", [(instances[0], 0, turns)])
    report = make_triples([run], texts, open_gate(), tmp_path / "out")
    texts.close()
    assert (report.alignments, report.dropped) == ({"exact": 1}, {"no_edit": 2})


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small byte-level tokenizer."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator([json.dumps(response(one)) for one in GOOD * 3], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.mark.parametrize("thought", ["Mend a.", "\u4fee\u6b63 \U0001f600 caf\u00e9", ""])
def test_the_tokens_of_an_action(tokenizer: Path, thought: str) -> None:
    """They cover the action, and without the first or the last of them it is not whole."""
    from tokenizers import Tokenizer

    turn = Turn(thought, [fix("a", " + '\u00e9\U0001f600'")])
    answer = read_answer(json.dumps(response(turn)).encode())
    assert answer is not None
    model = Tokenizer.from_file(str(tokenizer))
    ids = model.encode(answer.text + "<|end|>").ids
    span = TokenSpans(tokenizer).find(ids, answer, 0)
    assert span is not None
    call = answer.calls[0]
    action = answer.text[call.start : call.end]
    assert action in model.decode(ids[span.start : span.end], skip_special_tokens=False)
    assert action not in model.decode(ids[span.start + 1 : span.end])
    assert action not in model.decode(ids[span.start : span.end - 1])
    assert TokenSpans(tokenizer).find(model.encode("other").ids, answer, 0) is None


def test_token_offsets_are_in_the_rows_of_emitted_actions(
    tmp_path: Path, instances: list[Instance], texts: PITexts, tokenizer: Path
) -> None:
    """A rewritten action was never sampled, so it has no ids."""
    from tokenizers import Tokenizer

    model = Tokenizer.from_file(str(tokenizer))
    turns = []
    for turn in GOOD:
        answer = read_answer(json.dumps(response(turn)).encode())
        assert answer is not None
        ids = model.encode(answer.text).ids
        turns.append(Turn(turn.content, turn.calls, turn.observations, ids=ids))
    run = write_run(tmp_path / "run", [(instances[0], 0, turns)])
    spans = TokenSpans(tokenizer)
    make_triples([run], texts, open_gate(), tmp_path / "out", spans=spans)
    texts.close()
    found = {one["turn"]: one for one in rows(tmp_path / "out", "next_file")}
    first, second = found[2], found[3]
    ids = first["completion_ids"][first["action_token_start"] : first["action_token_end"]]
    assert '"file_editor"' in model.decode(ids)
    assert first["prompt_ids"] == [1, 2, 2]
    assert second["completion_ids"] == []
    assert second["action_token_start"] is None
    assert (first["ids_from"], second["ids_from"]) == ("endpoint", "endpoint")
