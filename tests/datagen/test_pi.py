"""PI of many instances: files that grow, resume, order, failures."""

import json
from pathlib import Path

import pytest

from harness.datagen.pi import Made, extract_answers, extract_suite, plan
from harness.datagen.pi_file import RecordFile, read_records
from harness.datagen.pi_sources import INSTANCE_SOURCES, PIOptions, describe_sources, make_sources
from harness.datagen.pi_stats import pi_stats
from harness.records import Instance
from pi_extractors.base import ExtractionError
from pi_extractors.records import PIRecord, SourceName
from pi_extractors.tokens import Estimate
from tests.pi_extractors.cases import FILES, case
from tests.pi_extractors.trees import commit_tree, git

FAST = (SourceName.TEST_MANIFEST, SourceName.GOLD_PATCH, SourceName.NEXT_FILE)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")


@pytest.fixture
def repos(tmp_path: Path) -> Path:
    commit_tree(tmp_path / "repos" / "owner__pkg", FILES)
    return tmp_path / "repos"


@pytest.fixture
def instances(tmp_path: Path, repos: Path) -> list[Instance]:
    commit = git(repos / "owner__pkg", "rev-parse", "HEAD")
    return [case(instance_id=f"owner__pkg-{n}", base_commit=commit) for n in (3, 1, 2)]


def _options(repos: Path | None, **changes: object) -> PIOptions:
    return PIOptions.model_validate({"sources": FAST, "repos": repos, **changes})


def _keys(out: Path) -> list[tuple[str, str]]:
    return [(record.instance_id, record.source.value) for record in read_records(out)]


def test_every_kind_of_every_instance_in_the_suites_order(
    repos: Path, instances: list[Instance], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "pi.jsonl"
    made = extract_suite(instances, _options(repos, sources=INSTANCE_SOURCES), out)
    assert [one.instance_id for one in made] == ["owner__pkg-3", "owner__pkg-1", "owner__pkg-2"]
    assert not any(one.problems for one in made)
    names = ["call_graph", "test_manifest", "gold_patch", "next_file"]
    assert _keys(out) == [(one.instance_id, name) for one in instances for name in names]


def test_the_record_says_where_the_snapshot_was_from(
    repos: Path, instances: list[Instance], tmp_path: Path
) -> None:
    extract_suite(instances[:1], _options(repos), tmp_path / "pi.jsonl")
    manifest, patch, following = read_records(tmp_path / "pi.jsonl")
    note = ("snapshot: base commit, from a local repository",)
    assert manifest.provenance.notes == following.provenance.notes == note
    assert patch.provenance.notes == ()


def test_what_is_there_is_kept_and_what_changed_is_made_again(
    repos: Path, instances: list[Instance], tmp_path: Path
) -> None:
    out = tmp_path / "pi.jsonl"
    extract_suite(instances, _options(repos), out)
    before = out.read_bytes()

    again = extract_suite(instances, _options(repos), out)
    assert [(len(one.records), one.kept) for one in again] == [(0, 3)] * 3
    assert out.read_bytes() == before

    changed = [instances[0].model_copy(update={"FAIL_TO_PASS": ("tests/x.py::t",)}), *instances[1:]]
    again = extract_suite(changed, _options(repos), out)
    assert [[record.source for record in one.records] for one in again] == [
        [SourceName.TEST_MANIFEST],
        [],
        [],
    ]
    assert len(read_records(out)) == 9

    smaller = _options(repos, budgets={SourceName.GOLD_PATCH: 50})
    again = extract_suite(instances, smaller, out)
    assert [len(one.records) for one in again] == [2, 1, 1]


def test_workers_and_the_cache_change_nothing(
    repos: Path, instances: list[Instance], tmp_path: Path
) -> None:
    extract_suite(instances, _options(repos), tmp_path / "one")
    extract_suite(instances, _options(repos), tmp_path / "cached")
    extract_suite(instances, _options(repos, use_cache=False), tmp_path / "uncached")
    extract_suite(instances, _options(repos), tmp_path / "parallel", workers=2)
    one = (tmp_path / "one").read_bytes()
    for other in ("cached", "uncached", "parallel"):
        assert (tmp_path / other).read_bytes() == one


def test_an_interruption_loses_one_record_at_most(
    repos: Path, instances: list[Instance], tmp_path: Path
) -> None:
    out = tmp_path / "pi.jsonl"
    extract_suite(instances, _options(repos), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()

    class Killed(Exception):
        pass

    def die(made: Made) -> None:
        if made.instance_id == "owner__pkg-2":
            raise Killed

    for cut in (1, 40, 10_000):
        with pytest.raises(Killed):
            extract_suite(instances, _options(repos), out, on_made=die)
        assert len(read_records(out)) == 6
        *lines, last = out.read_bytes().splitlines(keepends=True)
        out.write_bytes(b"".join(lines) + last[: max(1, len(last) - cut)])

    again = extract_suite(instances, _options(repos), out)
    assert sum(one.kept for one in again) == 5
    assert out.read_bytes() == whole


def test_what_fails_stops_nothing_else(
    repos: Path, instances: list[Instance], tmp_path: Path
) -> None:
    out = tmp_path / "pi.jsonl"
    lost = instances[1].model_copy(update={"repo": "other/gone"})
    broken = instances[2].model_copy(update={"patch": "--- a/../../x\n+++ b/../../x\n"})
    made = extract_suite([instances[0], lost, broken], _options(repos), out)
    assert made[0].problems == ()
    assert "no git repository of other/gone" in made[1].problems[0]
    assert [record.source for record in made[1].records] == [SourceName.GOLD_PATCH]
    assert [problem.split(":")[1] for problem in made[2].problems] == [" gold_patch", " next_file"]
    assert len(_keys(out)) == 5


def test_a_file_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        RecordFile.open(tmp_path / "pi.jsonl"),
        pytest.raises(ExtractionError, match="another extraction writes it"),
        RecordFile.open(tmp_path / "pi.jsonl"),
    ):
        pass


def test_other_files_are_not_touched(tmp_path: Path) -> None:
    out = tmp_path / "pi.jsonl"
    for content in (b'{"a": 1}\n', b"text\nmore\n", b"\xff\xfe\n\n", b"text", b'{"a": 1}'):
        out.write_bytes(content)
        with (
            pytest.raises(ExtractionError, match=r"pi\.jsonl: line 1 is no PI record"),
            RecordFile.open(out),
        ):
            pass
        assert out.read_bytes() == content


def test_a_plan_says_where_snapshots_come_from(repos: Path, instances: list[Instance]) -> None:
    lost = instances[1].model_copy(update={"repo": "other/gone"})
    found, missing = plan([instances[0], lost], _options(repos))
    assert found.origin == "base commit, from a local repository"
    assert missing.problems
    (unasked,) = plan([lost], _options(repos, sources=(SourceName.GOLD_PATCH,)))
    assert (unasked.origin, unasked.problems) == ("", ())


def test_answers_of_a_mathematical_suite(tmp_path: Path) -> None:
    questions = tmp_path / "q.jsonl"
    rows = [{"id": f"aime-{n}", "problem": "?", "answer": str(n)} for n in (2, 1)]
    questions.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    options = PIOptions(sources=(SourceName.GOLD_ANSWER,))
    assert extract_answers(questions, options, tmp_path / "pi.jsonl") == 2
    assert [record.text for record in read_records(tmp_path / "pi.jsonl")] == [
        "Final answer: 2",
        "Final answer: 1",
    ]
    questions.write_text('{"id": "x", "problem": "?"}\n')
    with pytest.raises(ExtractionError, match=r"q\.jsonl: line 1: answer: Field required"):
        extract_answers(questions, options, tmp_path / "pi.jsonl")
    with pytest.raises(ExtractionError, match="about questions"):
        list(make_sources(options))


def test_every_source_is_described() -> None:
    assert [row.name for row in describe_sources()] == list(SourceName)


def test_statistics(repos: Path, instances: list[Instance], tmp_path: Path) -> None:
    extract_suite(instances, _options(repos), tmp_path / "pi.jsonl")
    records: list[PIRecord] = read_records(tmp_path / "pi.jsonl")
    records = [
        record.model_copy(update={"tokens": tokens, "text": text})
        for record, tokens, text in zip(
            [one for one in records if one.source == "gold_patch"],
            (10, 30, 0),
            ("a", "b", ""),
            strict=True,
        )
    ]
    (row,) = pi_stats(records, Estimate())
    assert (row.records, row.empty, row.truncated) == (3, 1, 0)
    assert (row.p10, row.median, row.p90) == (12, 20, 28)
    assert row.error_median == pytest.approx(((10 / 2) + (30 / 2)) / 2 - 1)
