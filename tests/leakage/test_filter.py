"""Every rule rejects its planted row, and keeps the row next to it."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.leakage.filter import filter_rows, write_filtered
from harness.leakage.filter_manifest import (
    FilterError,
    FilterManifest,
    Rule,
    load_filter_manifest,
    manifest_schema,
)
from harness.leakage.filter_rows import RowSource, open_rows
from harness.suites.manifests import manifests_root
from pi_extractors.diffs import new_path, old_path, parse_diff
from tests.conftest import REAL_ROWS
from tests.leakage.filter_suites import diff, row, source

RENAME = """\
diff --git a/src/file7.py b/lib/new.py
similarity index 90%
rename from src/file7.py
rename to lib/new.py
"""
EVALUATION = row(7, environment_setup_commit="f" * 40)
COMMIT = EVALUATION["base_commit"]
FORK = row(20, repo="else/fork", base_commit=COMMIT)


def judge(folder: Path, *rows: dict[str, Any], **options: bool) -> FilterManifest:
    """The verdicts on training rows against the one evaluation row."""
    train = source(folder, "train", list(rows))
    return filter_rows(train, source(folder, "evaluation", [EVALUATION]), **options)


@pytest.mark.parametrize(
    ("rule", "planted", "neighbour"),
    [
        ("base_commit", {"base_commit": COMMIT}, {"base_commit": COMMIT[:-1] + "8"}),
        ("base_commit", {"base_commit": COMMIT, "repo": "an/other"}, {"repo": "an/other"}),
        ("base_commit", {"base_commit": COMMIT.upper()}, {"base_commit": "F" * 40}),
        ("path", {"patch": diff("src/file7.py")}, {"patch": diff("src/file77.py")}),
        ("path", {"patch": diff("src/file7.py")}, {"patch": diff("file7.py")}),
        ("path", {"patch": diff("src/file7.py")}, {"patch": diff("lib/src/file7.py")}),
        (
            "path",
            {"patch": diff("src/file7.py")},
            {"patch": diff("src/file7.py"), "repo": "owner/pkg2"},
        ),
        ("path", {"patch": diff("SRC/File7.PY")}, {"patch": diff("SRC/File7.PYI")}),
        ("path", {"patch": diff(".//src/./file7.py")}, {"patch": diff("./src/file7.py/x")}),
        ("path", {"patch": RENAME}, {"patch": RENAME.replace("file7", "file8")}),
        (
            "path",
            {"patch": diff("src/file7.py"), "repo": "Owner/PKG"},
            {"patch": diff("src/file7.py"), "repo": "Owners/PKG"},
        ),
        (
            "path",
            {"patch": diff("src/file7.py"), "repo": "mirrors/owner__pkg.1234abcd"},
            {"patch": diff("src/file7.py"), "repo": "mirrors/owner__pkgs.1234abcd"},
        ),
        ("instance_id", {"instance_id": "OWNER__pkg-7"}, {"instance_id": "owner__pkg-77"}),
        (
            "gold_patch",
            {"patch": EVALUATION["patch"], "repo": "an/other"},
            {"patch": EVALUATION["patch"].replace("+y7", "+y8"), "repo": "an/other"},
        ),
        ("invalid_row", {"base_commit": "1234"}, {}),
        ("invalid_row", {"repo": "no repository"}, {}),
        ("invalid_row", {"instance_id": None}, {}),
        ("malformed_patch", {"patch": diff("a.py").removesuffix("+y\n")}, {"patch": diff("a.py")}),
        ("malformed_patch", {"patch": ""}, {"patch": diff("a.py")}),
    ],
)
def test_a_planted_row_is_rejected_and_its_neighbour_is_kept(
    tmp_path: Path, rule: str, planted: dict[str, Any], neighbour: dict[str, Any]
) -> None:
    """One rule, one reason."""
    found = judge(tmp_path, row(1, **planted), row(2, **neighbour))
    assert [one.rule for one in found.rejected] == [rule]
    assert found.rejected[0].row == 1
    assert found.kept == (neighbour.get("instance_id", "owner__pkg-2"),)
    if rule not in ("invalid_row", "malformed_patch"):
        assert found.rejected[0].evaluation_instance == "owner__pkg-7"


def test_strict_rejects_the_repository_and_no_other(tmp_path: Path) -> None:
    """Also under another spelling."""
    rows = [row(1, repo="https://github.com/Owner/pkg.git"), row(2, repo="owner/pkg2")]
    assert judge(tmp_path, *rows).rejected == ()
    (one,) = judge(tmp_path, *rows, strict=True).rejected
    assert (one.row, one.rule, one.evidence) == (1, Rule.REPOSITORY, "owner/pkg")


def test_former_names_are_one_repository(tmp_path: Path) -> None:
    """From the shipped list."""
    evaluation = source(tmp_path, "evaluation", [row(7, repo="psf/requests")])
    rows = [row(1, repo="kennethreitz/Requests", patch=diff("src/file7.py"))]
    (one,) = filter_rows(source(tmp_path, "train", rows), evaluation).rejected
    assert one.rule is Rule.PATH


def test_a_fork_is_known_by_a_shared_commit(tmp_path: Path) -> None:
    """Then the path rule holds for its other rows too."""
    rows = [FORK, row(21, repo="else/fork", patch=diff("src/file7.py"))]
    found = judge(tmp_path, *rows)
    assert [one.rule for one in found.rejected] == [Rule.BASE_COMMIT, Rule.PATH]
    assert [(one.repo, one.of) for one in found.forks] == [("else/fork", "owner/pkg")]
    assert judge(tmp_path, rows[1]).rejected == ()


def test_own_rules_can_be_left_out(tmp_path: Path) -> None:
    """The protocol's and the safety rules stay."""
    rows = [row(1, instance_id="owner__pkg-7"), row(2, patch="no diff")]
    found = judge(tmp_path, *rows, own_rules=False)
    assert [one.rule for one in found.rejected] == [Rule.MALFORMED_PATCH]
    assert found.own_rules == ()


def test_a_path_clash_names_both_spellings_and_counts(tmp_path: Path) -> None:
    """The first evaluation instance by id is named."""
    evaluation = [row(9, patch=diff("src/A.py")), row(8, patch=diff("src/A.py", new="z"))]
    train = source(tmp_path, "train", [row(1, patch=diff("src/a.py"))])
    (one,) = filter_rows(train, source(tmp_path, "evaluation", evaluation)).rejected
    assert one.evaluation_instance == "owner__pkg-8"
    assert one.evidence == "src/a.py (there: src/A.py)"
    assert one.clashes == 2


@pytest.mark.parametrize("bad", [{"patch": "no diff"}, {"base_commit": ""}])
def test_an_evaluation_row_that_cannot_be_read_is_an_error(
    tmp_path: Path, bad: dict[str, Any]
) -> None:
    """Nothing could be kept away from it."""
    evaluation = source(tmp_path, "evaluation", [EVALUATION, row(8, **bad)])
    with pytest.raises(FilterError, match="row 2 owner__pkg-8"):
        filter_rows(source(tmp_path, "train", [row(1)]), evaluation)


def test_rows_are_written_byte_for_byte(tmp_path: Path) -> None:
    """Odd spacing, unknown columns, escapes and carriage returns stay; the digests fit."""
    lines = [
        b'{"extra" :1,  ' + json.dumps(row(1)).encode()[1:] + b"\r",
        json.dumps(row(2, base_commit=COMMIT)).encode(),
        b"not json",
        json.dumps(row(3, problem_statement="\u00e9")).encode(),
    ]
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\n\n".join(lines))
    train = open_rows(str(path))
    manifest = filter_rows(train, source(tmp_path, "evaluation", [EVALUATION]))
    write_filtered(train, manifest, tmp_path / "out")
    assert (tmp_path / "out" / "kept.jsonl").read_bytes() == lines[0] + b"\n" + lines[3] + b"\n"
    rejected = [json.loads(one) for one in (tmp_path / "out" / "rejected.jsonl").open()]
    assert [(one["row"], one["rule"]) for one in rejected] == [
        (3, "base_commit"),
        (5, "invalid_row"),
    ]
    assert load_filter_manifest(tmp_path / "out" / "filter.json") == manifest


def test_rows_that_change_while_they_are_filtered_are_an_error(tmp_path: Path) -> None:
    """No manifest is left behind."""
    train = source(tmp_path, "train", [row(1), row(2)])
    manifest = filter_rows(train, source(tmp_path, "evaluation", [EVALUATION]))
    source(tmp_path, "train", [row(1), row(3)])
    with pytest.raises(FilterError, match="changed"):
        write_filtered(train, manifest, tmp_path / "out")
    assert not (tmp_path / "out" / "filter.json").exists()


def test_a_manifest_whose_counts_do_not_fit_is_refused(tmp_path: Path) -> None:
    """As one from which a kept row was taken."""
    manifest = judge(tmp_path, row(1), row(2)).model_dump(mode="json")
    manifest["kept"] = manifest["kept"][:1]
    path = tmp_path / "filter.json"
    path.write_text(json.dumps(manifest))
    with pytest.raises(FilterError, match="counts"):
        load_filter_manifest(path)


def test_the_shipped_manifest_is_what_the_filter_says() -> None:
    """`pypi-mini/train` against `pypi-mini/test`, and the schema."""
    folder = manifests_root() / "leakage"
    again = filter_rows(open_rows("pypi-mini/train"), open_rows("pypi-mini/test"))
    assert load_filter_manifest(folder / "pypi-mini.json") == again
    assert again.kept_rows == 28
    assert json.loads((folder / "filter.schema.json").read_text()) == manifest_schema()


_PATHS = st.sampled_from(["a.py", "A.py", "./b.py", "src//b.py", "src/b.py", "c d.py"])
_ROWS = st.builds(
    lambda number, repo, commit, path, new: {
        "instance_id": f"{repo.replace('/', '__')}-{number}",
        "repo": repo,
        "base_commit": f"{commit:040x}",
        "patch": diff(path, new=new) if path else "no diff",
    },
    st.integers(1, 9),
    st.sampled_from(["o/p", "O/P", "o/q", "f/p"]),
    st.integers(1, 6),
    _PATHS | st.none(),
    st.sampled_from(["y", "z"]),
)


@settings(max_examples=60)
@given(
    st.lists(_ROWS, max_size=12),
    st.lists(_ROWS.filter(lambda one: one["patch"] != "no diff"), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_the_filter_as_a_whole(
    tmp_path_factory: pytest.TempPathFactory,
    train: list[dict[str, Any]],
    evaluation: list[dict[str, Any]],
    random: Any,
) -> None:
    """Order does not matter; twice is once; strict rejects more; nothing is lost."""
    folder = tmp_path_factory.mktemp("filter")
    against = source(folder, "evaluation", evaluation)
    first = filter_rows(source(folder, "train", train), against)
    assert first.kept_rows + first.rejected_rows == len(train)
    verdicts = _verdicts(train, first)

    shuffled = random.sample(train, len(train))
    shuffled_evaluation = source(folder, "again", random.sample(evaluation, len(evaluation)))
    second = filter_rows(source(folder, "shuffled", shuffled), shuffled_evaluation)
    assert _verdicts(shuffled, second) == verdicts

    strict = filter_rows(source(folder, "train", train), against, strict=True)
    assert {one.row for one in first.rejected} <= {one.row for one in strict.rejected}

    write_filtered(source(folder, "train", train), first, folder / "out")
    kept = RowSource("kept", folder / "out" / "kept.jsonl")
    assert filter_rows(kept, against).rejected == ()


def _verdicts(rows: list[dict[str, Any]], manifest: FilterManifest) -> Counter[str]:
    """Each row with its reason, its number aside."""
    rejected = {one.row: one.model_dump_json(exclude={"row"}) for one in manifest.rejected}
    return Counter(
        json.dumps(one, sort_keys=True) + rejected.get(number, "kept")
        for number, one in enumerate(rows, start=1)
    )


@pytest.fixture
def real() -> dict[str, Path]:
    """The real rows; the test is skipped without them."""
    paths = {name: REAL_ROWS / f"swebench_{name}_v5.jsonl.gz" for name in ("dev", "verified")}
    if not all(path.is_file() for path in paths.values()):
        pytest.skip("no real rows here")
    return paths


def test_the_real_dev_split_shares_nothing_with_verified(real: dict[str, Path]) -> None:
    """Six other repositories."""
    found = filter_rows(open_rows(str(real["dev"])), open_rows(str(real["verified"])), strict=True)
    assert (found.kept_rows, found.rejected_rows) == (225, 0)
    shipped = load_filter_manifest(manifests_root() / "leakage" / "swe-bench-dev.json")
    assert shipped.kept == found.kept
    assert shipped.train == found.train


def test_verified_against_itself_keeps_nothing(real: dict[str, Path]) -> None:
    """All by their base commit."""
    verified = open_rows(str(real["verified"]))
    found = filter_rows(verified, verified)
    assert found.by_rule["base_commit"] == found.rejected_rows == 500


def test_real_rows_are_rejected_as_another_parser_says(
    tmp_path: Path, real: dict[str, Path]
) -> None:
    """One half of Verified against the other; commits and paths compared by hand with unidiff."""
    with gzip.open(real["verified"], "rt") as file:
        rows = [json.loads(line) for line in file]
    train, evaluation = rows[::2], rows[1::2]
    found = filter_rows(
        source(tmp_path, "train", train), source(tmp_path, "evaluation", evaluation)
    )
    commits = {one["base_commit"] for one in evaluation}
    touched = {(one["repo"], path) for one in evaluation for path in _paths(one)}
    expected = {}
    for number, one in enumerate(train, start=1):
        if one["base_commit"] in commits:
            expected[number] = Rule.BASE_COMMIT
        elif any((one["repo"], path) in touched for path in _paths(one)):
            expected[number] = Rule.PATH
    assert {one.row: one.rule for one in found.rejected} == expected
    assert Counter(expected.values()) == {Rule.PATH: 120}
    by_id = {one["instance_id"]: one for one in evaluation}
    for one in found.rejected:
        other = by_id[str(one.evaluation_instance)]
        known = {other["base_commit"]} if one.rule is Rule.BASE_COMMIT else _paths(other)
        assert one.evidence in known


def _paths(one: dict[str, Any]) -> set[str]:
    files = parse_diff(one["patch"], "patch")
    return {path for file in files for path in (old_path(file), new_path(file)) if path}
