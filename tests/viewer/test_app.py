"""The viewer's server."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from harness.viewer.app import make_app
from harness.viewer.attempt import Sources
from harness.viewer.index import Index
from harness.viewer.labels import Labels
from tests.viewer.runs import COUNT, write_ledger, write_runs

BASE = "http://127.0.0.1:9000"


@pytest.fixture
def ids(tmp_path: Path) -> list[str]:
    return write_runs(tmp_path / "runs")


@pytest.fixture
def client(tmp_path: Path, ids: list[str]) -> TestClient:
    write_ledger(tmp_path / "ledger", f"one/{ids[0]}/0#0")
    pi = tmp_path / "pi.jsonl"
    record = f'"instance_id": "{ids[0]}", "source": "gold_patch", "tier": "oracle"'
    pi.write_text(f'{{{record}, "text": "the <b>patch</b>"}}\nnonsense\n')
    index = Index(tmp_path / "runs", tmp_path / "cache")
    index.refresh()
    sources = Sources({"chop": tmp_path / "ledger"}, pi=pi)
    app = make_app(index, Labels(tmp_path / "labels.sqlite"), sources, port=9000)
    return TestClient(app, base_url=BASE)


def get(client: TestClient, path: str, **parameters: Any) -> Any:
    response = client.get(f"/api/{path}", params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


def headers(client: TestClient) -> dict[str, str]:
    found = re.search(r'name="token" content="([^"]+)"', client.get("/").text)
    assert found
    return {"X-Token": found[1], "Origin": BASE}


def test_an_attempt_has_its_tokens_with_the_last_decisions(
    client: TestClient, ids: list[str]
) -> None:
    found = get(client, "attempt", run="one", instance=ids[0], seed=0)
    (sequence,) = found["sequences"]
    tokens = sequence["tokens"]
    assert [one["text"].strip() for one in tokens] == ["1", "2", "3", "4", "5", "6"]
    assert [one["turn"] for one in tokens] == [None, None, 1, 1, None, 2]
    assert [one["log_prob"] for one in tokens[2:4]] == pytest.approx([-0.5, -2.0])
    assert (tokens[2]["cell"], tokens[2]["step"], tokens[3]["kappa"]) == ("D", 2, 0.75)
    assert "cell" not in tokens[5]
    assert found["pi"] == [
        {"source": "gold_patch", "tier": "oracle", "turn": None, "text": "the <b>patch</b>"}
    ]
    assert [one["run"] for one in found["siblings"]] == ["deep/two", "one"]
    order = sorted(ids)
    place = order.index(ids[0])
    assert found["previous"] == {"instance": order[place - 1], "seed": 0}
    assert found["next"] == {"instance": order[place + 1], "seed": 0}
    assert (found["ledger"], found["ledgers"]) == ("chop", ["chop"])
    assert found["status"] == "resolved"
    assert "⟨U+202E⟩" in found["reason"]


def test_runs_are_compared(client: TestClient) -> None:
    found = get(client, "compare", a="one", b="deep/two")
    assert found["difference"]["value"] == pytest.approx(2 / COUNT)
    assert len(found["better_in_b"]) == 2


def test_the_next_action_is_one_that_the_annotator_did_not_label(client: TestClient) -> None:
    first = get(client, "queue", annotator="a")
    assert (first["actions"], first["labelled"], first["place"]) == (2 * COUNT, 0, 0)
    label = first["next"] | {"annotator": "a", "score": 2}
    assert client.post("/api/labels", json=label, headers=headers(client)).status_code == 200
    second = get(client, "queue", annotator="a")
    assert (second["labelled"], second["place"]) == (1, 1)
    assert get(client, "queue", annotator="a", skip=2)["place"] == 2
    assert get(client, "queue", annotator="a", skip=2 * COUNT)["next"] is None
    assert get(client, "queue", annotator="b")["next"] == first["next"]


def test_new_attempts_are_read_when_asked(
    client: TestClient, ids: list[str], tmp_path: Path
) -> None:
    attempts = tmp_path / "runs" / "one" / "attempts" / ids[0]
    shutil.copytree(attempts / "0", attempts / "1")
    assert get(client, "attempts")["total"] == 2 * COUNT
    assert client.post("/api/refresh", json={}).status_code == 403
    assert client.post("/api/refresh", json={}, headers=headers(client)).status_code == 200
    assert get(client, "attempts")["total"] == 2 * COUNT + 1


def test_what_cannot_be_read_is_said(client: TestClient, ids: list[str], tmp_path: Path) -> None:
    (tmp_path / "pi.jsonl").write_text(f'{{"instance_id": "{ids[0]}"}}\n')
    (tmp_path / "runs/one/attempts" / ids[0] / "0/calls.parquet").write_bytes(b"PAR1 nonsense")
    problems = get(client, "attempt", run="one", instance=ids[0], seed=0)["problems"]
    assert [one.partition(":")[0] for one in problems][-2:] == ["tokens", "--pi"]
    grade = tmp_path / "runs/one/grades" / ids[0] / "0/grade.json"
    grade.write_text("{")
    answer = client.get("/api/compare", params={"a": "one", "b": "deep/two"})
    assert answer.status_code == 422


def test_pages_of_attempts(client: TestClient) -> None:
    assert get(client, "attempts", text="zebra", limit=3)["total"] == 2 * COUNT
    assert client.get("/api/attempts", params={"sort": "x"}).status_code == 422
    assert client.get("/api/attempts", params={"limit": 10**9}).status_code == 422
    assert get(client, "instances", outcome="some", limit=1)["total"] == 2


@pytest.mark.parametrize(
    "parameters",
    [
        {"run": "../runs/one", "instance": "x", "seed": 0},
        {"run": "one", "instance": "../../deep/two/attempts/x", "seed": 0},
        {"run": "one", "instance": "..", "seed": 0},
    ],
)
def test_nothing_outside_of_a_run_is_shown(client: TestClient, parameters: dict[str, Any]) -> None:
    assert client.get("/api/attempt", params=parameters).status_code == 404
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/static/index.html").status_code == 404


def test_a_label_is_kept_of_the_page_alone(client: TestClient, ids: list[str]) -> None:
    label = {"annotator": "a", "run": "one", "instance": ids[0], "seed": 0, "turn": 1, "score": 5}
    good = headers(client)
    for wrong in ({}, good | {"X-Token": "x"}, good | {"Origin": "http://evil.example"}):
        assert client.post("/api/labels", json=label, headers=wrong).status_code == 403
    assert client.post("/api/labels", json=label | {"seed": 9}, headers=good).status_code == 404
    kept = client.post("/api/labels", json=label, headers=good).json()
    assert [one["score"] for one in kept] == [5]
    assert get(client, "attempt", run="one", instance=ids[0], seed=0)["labels"] == kept
    assert get(client, "agreement")["annotators"] == {"a": 1}
    assert client.get("/api/labels").status_code == 405


def test_other_hosts_are_refused_and_the_page_may_load_nothing_else(client: TestClient) -> None:
    for host in ("evil.example", "127.0.0.1:9001", "127.0.0.1"):
        assert client.get("/", headers={"Host": host}).status_code == 421
    page = client.get("/")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    for name in re.findall(r"/static/[a-z.]+", page.text):
        assert client.get(name).status_code == 200
