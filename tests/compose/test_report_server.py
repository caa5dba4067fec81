"""The report server over HTTP, on folders that models and repositories wrote to."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.compose.conftest import PARTS, ROOT

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "runs"
    report = folder / "first" / "report" / "index.html"
    report.parent.mkdir(parents=True)
    report.write_text("<!doctype html><title>the report</title>")
    (folder / "first" / "gold").mkdir()
    (folder / "first" / "gold" / "run.yaml").write_text(yaml.safe_dump({"method": HOSTILE}))
    logs = folder / "first" / "gold" / "attempts" / "a" / "0" / "logs"
    (logs / "report").mkdir(parents=True)
    (logs / "report" / "index.html").write_text(HOSTILE)
    (logs / "outside").symlink_to("/etc/passwd")
    hostile = folder / "<b>bold&"
    hostile.mkdir()
    (hostile / "run.yaml").write_text("a: !!python/object/apply:os.system [exit]")
    (folder.parent / "beside.txt").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def client(runs: Path) -> Iterator[httpx.Client]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, str(PARTS / "report_server.py"), str(runs), f"--port={port}"]
    server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            for _ in range(300):
                try:
                    client.get("/health").raise_for_status()
                    break
                except httpx.ConnectError:
                    assert server.poll() is None
                    time.sleep(0.1)
            yield client
    finally:
        server.terminate()
        server.wait()


def test_the_index_links_reports_and_escapes_names(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert 'href="/runs/first/report/index.html"' in answer.text
    assert "&lt;b&gt;bold&amp;" in answer.text
    assert "<b>" not in answer.text
    assert "<script" not in answer.text
    assert "script" not in answer.headers["content-security-policy"]


def test_links_of_the_index_lead_to_files(client: httpx.Client) -> None:
    links = [part.partition('"')[0] for part in client.get("/").text.split('href="')[1:]]
    assert "/runs/%3Cb%3Ebold%26/run.yaml" in links
    assert {client.get(link).status_code for link in links} == {200}


def test_reports_are_pages_and_all_else_is_text(client: httpx.Client) -> None:
    assert "text/html" in client.get("/runs/first/report/index.html").headers["content-type"]
    answer = client.get("/runs/first/gold/attempts/a/0/logs/report/index.html")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/runs/first/gold/attempts/a/0/logs/outside",
        "/runs/../beside.txt",
        "/runs/%2e%2e/beside.txt",
        "/runs/..%2fbeside.txt",
        "/runs//etc/passwd",
        "/runs/first",
        "/runs/",
    ],
)
def test_nothing_else_is_served(client: httpx.Client, path: str) -> None:
    request = client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())
    assert client.send(request).status_code == 404


def test_it_only_reads(client: httpx.Client) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert client.request(method, "/runs/first/report/index.html").status_code == 405


def test_pages_of_other_host_names_cannot_read_it(client: httpx.Client) -> None:
    assert client.get("/", headers={"Host": "rebound.example"}).status_code == 400
    assert client.get("/", headers={"Host": "localhost:8008"}).status_code == 200
