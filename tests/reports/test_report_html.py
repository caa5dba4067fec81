"""The file that is written: complete, self-contained, and hostile text in it stays text."""

import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.records import RunFolder, StopReason, Verdict
from harness.reports import Caps, write_report
from tests.reports.report_builder import RunBuilder, conversation, make_instances

HOSTILE = '</title></script><script>alert(1)</script><img src=x onerror="alert(2)">\u202e\x00'


class Page(HTMLParser):
    """Elements, their attributes, and the text of scripts, styles and the rest."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tags[-1][0] if self.tags else "", data))

    @property
    def text(self) -> str:
        words = (text for tag, text in self.texts if tag not in ("script", "style"))
        return " ".join(" ".join(words).split())

    def ids(self, prefix: str) -> Counter[str]:
        found = (attrs.get("id") or "" for tag, attrs in self.tags if tag == "script")
        return Counter(one for one in found if one.startswith(prefix))


def report(path: Path, *builds: RunBuilder, title: str = "Title", caps: Caps | None = None) -> Page:
    write_report([build.folder for build in builds], path, title=title, caps=caps)
    return Page(path.read_text(encoding="utf-8"))


def finished(root: Path, method: str, verdict: Verdict, count: int = 3) -> RunBuilder:
    build = RunBuilder(root / method, method, make_instances(count))
    return build.everywhere(lambda _, __: verdict)


def test_several_runs_in_one_file(tmp_path: Path) -> None:
    gold = finished(tmp_path, "gold", Verdict.RESOLVED)
    noop = finished(tmp_path, "noop", Verdict.EMPTY_PATCH)
    page = report(tmp_path / "report" / "index.html", gold, noop)
    assert "gold resolved 3 of 3 instances: 100.0%." in page.text
    assert "noop resolved 0 of 3 instances: 0.0%." in page.text
    assert "noop against gold" in page.text
    assert "gold/scores.json" in page.text
    assert "psf/requests" in page.text
    assert set(page.ids("attempt/").values()) == set(page.ids("instance/").values()) == {1}
    assert (len(page.ids("attempt/")), len(page.ids("instance/"))) == (6, 3)


def test_nothing_is_loaded_and_the_policy_names_what_is_there(tmp_path: Path) -> None:
    page = report(tmp_path / "r.html", finished(tmp_path, "gold", Verdict.RESOLVED))
    links = [v for _, a in page.tags for k, v in a.items() if k in ("src", "href", "action")]
    assert {link.split("/")[0] for link in links if link and not link.startswith("#")} == {"data:,"}
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a]
    assert policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not [attrs for _, attrs in page.tags if "style" in attrs or "onclick" in attrs]


def test_hostile_text_anywhere_stays_text(tmp_path: Path) -> None:
    instances = make_instances(2)
    build = RunBuilder(
        tmp_path / "run",
        HOSTILE,
        instances,
        notes=(HOSTILE,),
        config={HOSTILE: HOSTILE, "command": HOSTILE, "suite": {"reference": HOSTILE}},
    )
    build.attempt(instances[0], detail=HOSTILE, events=conversation(1))
    build.grade(instances[0], verdict=Verdict.UNRESOLVED, reason=HOSTILE, log=HOSTILE)
    build.attempt(instances[1], stop=StopReason.INFRASTRUCTURE, detail=HOSTILE)
    build.grade(instances[1], verdict=Verdict.INFRA_FAILURE, reason=HOSTILE)
    page = report(tmp_path / "r.html", build, title=HOSTILE)
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert [a for a in scripts if a.get("type") not in ("text/plain", "application/json")] == [{}]
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "\x00" not in page.text
    assert "\u202e" not in page.text
    assert "<script>alert(1)</script>" in page.text


def test_an_incomplete_run_says_how_far_it_is(tmp_path: Path) -> None:
    one, two, _ = instances = make_instances(3)
    build = RunBuilder(tmp_path / "run", "mini", instances)
    build.attempt(one)
    build.grade(one)
    build.attempt(two)
    build.score()
    page = report(tmp_path / "r.html", build)
    assert "mini is not complete: 2 of 3 attempts are made, 1 are graded." in page.text
    assert "no grade yet" in page.text
    assert "not run" in page.text
    assert len(page.ids("attempt/")) == 3


def test_without_scores_the_attempts_show_and_no_rate(tmp_path: Path) -> None:
    build = finished(tmp_path, "gold", Verdict.RESOLVED)
    build.folder.scores.unlink()
    page = report(tmp_path / "r.html", build)
    assert "gold has no scores yet" in page.text
    assert "no score" in page.text
    assert "100.0%" not in page.text


def test_scores_of_another_moment_are_called_that(tmp_path: Path) -> None:
    build = finished(tmp_path, "gold", Verdict.RESOLVED)
    (build.folder.grade(build.instances[0].id, 0) / "grade.json").unlink()
    page = report(tmp_path / "r.html", build)
    assert "scores.json covers 3 attempts, but 2 with a verdict" in page.text


def test_an_empty_folder_still_makes_a_report(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_report([RunFolder(tmp_path / "empty")], tmp_path / "r.html", title="Title")
    text = Page((tmp_path / "r.html").read_text()).text
    for expected in ("run.yaml is missing", "lock.json is missing", "instances.jsonl is missing"):
        assert expected in text


def test_refused_input_is_listed_once_and_warned_of(tmp_path: Path) -> None:
    builds = [finished(tmp_path, name, Verdict.RESOLVED) for name in ("gold", "noop")]
    for build in builds:
        (build.root / "refused.jsonl").write_text('{"what": "row 7", "why": "no image"}\n')
    page = report(tmp_path / "r.html", *builds)
    assert "gold: 1 of what was asked for could not be run" in page.text
    assert page.text.count("row 7") == 1
    assert "gold, noop row 7 no image" in page.text


def test_several_seeds_show_pass_at_k(tmp_path: Path) -> None:
    build = RunBuilder(tmp_path / "run", "mini", make_instances(4), seeds=(0, 1, 2))
    build.everywhere(lambda _, seed: Verdict.RESOLVED if seed else Verdict.UNRESOLVED)
    page = report(tmp_path / "r.html", build)
    assert "mini resolved 8 of 12 attempts on 4 instances (by seed: 0, 4, 4): 66.7%." in page.text
    assert "pass@3" in page.text
    assert len(page.ids("attempt/")) == 12


def test_runs_without_a_common_instance_are_not_compared(tmp_path: Path) -> None:
    one, two = make_instances(2)
    builds = [
        RunBuilder(tmp_path / name, name, [instance]).everywhere(lambda _, __: Verdict.RESOLVED)
        for name, instance in (("a", one), ("b", two))
    ]
    page = report(tmp_path / "r.html", *builds)
    assert "Not compared: no instance is graded in both a and b." in page.text
    assert page.text.count("not in this run") == 2


def test_the_size_limit_leaves_out_details_and_says_so(tmp_path: Path) -> None:
    build = RunBuilder(tmp_path / "run", "mini", make_instances(20))
    build.everywhere(lambda _, __: Verdict.UNRESOLVED, events=conversation(20))
    whole = report(tmp_path / "whole.html", build)
    small = report(tmp_path / "small.html", build, caps=Caps(report_bytes=8192))
    assert "size limit" not in whole.text
    assert re.search(r"size limit of 8.0 KiB: .* last 1\d attempts are left out", small.text)
    assert small.ids("attempt/") == whole.ids("attempt/")
    sizes = [(tmp_path / f"{name}.html").stat().st_size for name in ("small", "whole")]
    assert sizes[0] < sizes[1] - 10_000


def test_a_failed_write_keeps_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = finished(tmp_path, "gold", Verdict.RESOLVED)
    path = tmp_path / "r.html"
    path.write_text("old")

    def fail(*_: object, **__: object) -> str:
        raise OSError("disk full")

    monkeypatch.setattr("harness.reports.html.pack", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report([build.folder], path, title="Title")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["r.html"]
