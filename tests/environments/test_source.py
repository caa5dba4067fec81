import functools
import hashlib
import http.server
import io
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.environments.package_index import PackageIndexError, find_release
from harness.environments.recipe import Sdist
from harness.environments.source import SourceError, fetch_sdist, materialise, unpack_sdist
from tests.environments import fake_sdist as fake

Serve = Callable[[dict[str, tuple[str, bytes]]], str]
DATA = fake.archive(fake.FILES)
PINNED = Sdist(name="Some_Pkg", version="1.0", sha256=hashlib.sha256(DATA).hexdigest())


def git(tree: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=tree, capture_output=True, text=True, check=True
    ).stdout


def test_the_base_commit_is_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = fake.put_in_cache(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[core]\n\tautocrlf = true\n\texcludesFile = ~/ignore\n[commit]\n\tgpgsign = true\n"
        "[user]\n\tname = Someone\n[init]\n\tdefaultBranch = trunk\n"
    )
    (home / "ignore").write_text("*.py\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    before = os.umask(0o077)
    try:
        materialise(fake.instance(), recipe, tmp_path, tmp_path / "tree")
    finally:
        os.umask(before)
    monkeypatch.undo()
    tree = tmp_path / "tree"
    assert git(tree, "rev-parse", "HEAD").strip() == fake.BASE_COMMIT
    assert git(tree, "status", "--porcelain", "--ignored") == ""
    assert git(tree, "ls-files", "-s", "tool.sh").startswith("100755 ")
    assert git(tree, "rev-list", "--all", "--reflog").split() == [fake.BASE_COMMIT]


def test_the_source_is_the_base_tree_with_both_patches(tmp_path: Path) -> None:
    materialise(fake.instance(), fake.put_in_cache(tmp_path), tmp_path, tmp_path / "tree")
    tree = tmp_path / "tree"
    assert b"41" in (tree / "pkg.py").read_bytes()
    assert b"test_new" not in (tree / "tests/test_pkg.py").read_bytes()
    for patch in (fake.PATCH, fake.TEST_PATCH):
        subprocess.run(["git", "apply"], cwd=tree, input=patch.encode(), check=True)
    names = git(tree, "ls-files").split()
    assert {name: (tree / name).read_bytes() for name in names} == {
        name: data for name, data in fake.FILES.items() if "egg-info" not in name
    }


def test_checkouts_of_the_tree_convert_nothing(tmp_path: Path) -> None:
    materialise(fake.instance(), fake.put_in_cache(tmp_path), tmp_path, tmp_path / "tree")
    tree = tmp_path / "tree"
    (tree / "notes.txt").unlink()
    git(tree, "checkout", "-f", "HEAD", "notes.txt")
    assert (tree / "notes.txt").read_bytes() == fake.FILES["notes.txt"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_commit": "1" * 40}, "the row says 1111"),
        ({"patch": fake.PATCH.replace("42", "43")}, "^patch cannot be reverted"),
        ({"test_patch": fake.TEST_PATCH.replace("pkg\n", "p\n")}, "^test_patch cannot be reverted"),
        ({"patch": fake.PATCH.replace("pkg.py", "../outside.py")}, "invalid path"),
        ({"patch": fake.PATCH.replace("pkg.py", ".git/config")}, "invalid path"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    (tmp_path / "outside.py").write_bytes(fake.FILES["pkg.py"])
    with pytest.raises(SourceError, match=said):
        materialise(
            fake.instance(**changes), fake.put_in_cache(tmp_path), tmp_path, tmp_path / "tree"
        )
    assert (tmp_path / "outside.py").read_bytes() == fake.FILES["pkg.py"]


def test_a_recipe_without_a_distribution_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no sdist"):
        materialise(
            fake.instance(), fake.put_in_cache(tmp_path, sdist=None), tmp_path, tmp_path / "tree"
        )


def hostile(name: str, **fields: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        for field, value in fields.items():
            setattr(member, field, value)
        tar.addfile(member)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (hostile("pkg-1.0/../../evil"), "leads outside"),
        (hostile("/etc/evil"), "leads outside"),
        (hostile("pkg-1.0/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "no plain file"),
        (hostile("pkg-1.0/link", type=tarfile.LNKTYPE, linkname="pkg-1.0/a"), "no plain file"),
        (hostile("pkg-1.0/pipe", type=tarfile.FIFOTYPE), "no plain file"),
        (hostile("alone.py"), "no plain file"),
        (b"no archive", "not a gzip file"),
        (DATA[:200], "end"),
        (fake.archive({}), "found 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "archive",  # archives hold the time
)
def test_hostile_and_damaged_archives_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "pkg.tar.gz"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=said):
        unpack_sdist(path, tmp_path / "tree")
    assert not (tmp_path / "evil").exists()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a package index on the loopback interface and makes it the configured one."""
    servers = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def __init__(self, answers: dict[str, tuple[str, bytes]], *arguments: object) -> None:
            self.answers = answers
            super().__init__(*arguments)  # type: ignore[arg-type]

        def do_GET(self) -> None:
            kind, body = self.answers.get(self.path, ("", b""))
            self.send_response(200 if kind else 404)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    def start(answers: dict[str, tuple[str, bytes]]) -> str:
        handler = functools.partial(Handler, answers)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/simple"
        monkeypatch.setenv("PIP_INDEX_URL", url)
        return url

    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "*")
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


FILE = ("application/gzip", DATA)


def json_page(sha256: str) -> tuple[str, bytes]:
    files = [
        {"url": "../files/other.whl", "hashes": {"sha256": "0" * 64}},
        {"url": "../files/some_pkg-1.0.tar.gz", "hashes": {"sha256": sha256}},
    ]
    return "application/vnd.pypi.simple.v1+json", json.dumps({"files": files}).encode()


def html_page(fragment: str) -> tuple[str, bytes]:
    page = f'<a href="/files/some_pkg-1.0.tar.gz{fragment}">x</a><a href="/files/b.whl">y</a>'
    return "text/html", page.encode()


@pytest.mark.parametrize(
    "page",
    [json_page(PINNED.sha256), html_page(f"#sha256={PINNED.sha256}"), html_page("")],
    ids=["json", "html", "html without hashes"],
)
def test_the_archive_comes_from_the_configured_index_once(
    tmp_path: Path, serve: Serve, page: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = "/files/some_pkg-1.0.tar.gz"
    serve({"/simple/some-pkg/": page, file: FILE, "/simple" + file: FILE})
    path = fetch_sdist(PINNED, tmp_path)
    assert path.read_bytes() == DATA
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    assert fetch_sdist(PINNED, tmp_path) == path


def test_other_bytes_than_the_pinned_are_refused(tmp_path: Path, serve: Serve) -> None:
    body = ("application/gzip", DATA + b"x")
    serve({"/simple/some-pkg/": html_page(""), "/files/some_pkg-1.0.tar.gz": body})
    with pytest.raises(SourceError, match=rf"Some_Pkg 1.0: .*the recipe pins {PINNED.sha256}"):
        fetch_sdist(PINNED, tmp_path)
    assert list((tmp_path / "sdists").iterdir()) == []


def test_without_an_index_the_error_says_what_to_do(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(SourceError, match=r"Some_Pkg 1.0: cannot be downloaded.*PIP_INDEX_URL"):
        fetch_sdist(PINNED, tmp_path)


def test_the_earliest_final_release_of_a_series_is_found(serve: Serve) -> None:
    names = [
        "Some-Pkg-3.1.9",
        "Some_Pkg-3.2a1",
        "some_pkg-3.2.2",
        "some_pkg-3.2.0",
        "some_pkg-3.20",
    ]
    files = [f"{name}.tar.gz" for name in names] + ["some_pkg-3.2.0-py3-none-any.whl"]
    files += ["some_pkg-3.2.zip", "junk", "some_pkg-nonsense.tar.gz"]
    listed = [
        {"url": f"/files/{name}", "hashes": {"sha256": f"{number:064x}"}}
        for number, name in enumerate(files)
    ]
    page = json.dumps({"files": listed}).encode()
    serve({"/simple/some-pkg/": ("application/vnd.pypi.simple.v1+json", page)})

    assert find_release("Some.Pkg", "3.2") == Sdist(
        name="Some.Pkg", version="3.2.0", sha256=f"{3:064x}"
    )
    with pytest.raises(PackageIndexError, match=r"Some\.Pkg 4: none of 4 releases is of 4"):
        find_release("Some.Pkg", "4")
    with pytest.raises(PackageIndexError, match="other 1"):
        find_release("other", "1")
    with pytest.raises(PackageIndexError, match="nonsense"):
        find_release("Some.Pkg", "nonsense")
