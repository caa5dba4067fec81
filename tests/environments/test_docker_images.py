"""Recipes and a local repository become images with SWE-bench's layout and no future."""

import hashlib
import json
import os
import shutil
import socket
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.environments.base_images import LABEL, release_for
from harness.environments.docker_images import BuildResult, build_images, image_name
from harness.environments.engine import all_images, connect
from harness.environments.errors import ImageError
from harness.environments.host_access import FOLDER
from harness.environments.recipe import Sdist
from harness.environments.source import commit_base
from tests.conftest import make_instance
from tests.environments.docker_bench import Bench
from tests.environments.upstream import SECRET, make_upstream


def test_pythons_come_from_debian_or_from_upstream() -> None:
    assert [release_for(python, "x") for python in ("3.9", "3.11")] == ["bullseye", "bookworm"]
    with pytest.raises(ImageError, match=r"Python 3\.6 .*docker pull sweb/a:latest"):
        release_for("3.6", "sweb/a:latest")


def test_rows_without_an_image_get_the_upstream_name() -> None:
    row = make_instance(instance_id="Owner__pkg-1", image=None)
    assert image_name(row) == "swebench/sweb.eval.x86_64.owner_1776_pkg-1:latest"


def test_without_an_engine_the_error_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(ImageError, match=r"docker/engine.sh start"):
        build_images([], recipes={}, repos=None, cache=tmp_path, on_progress=print)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Builds one instance on a machine with a private index, proxy and certificate."""
    try:
        client = connect()
    except ImageError as error:
        pytest.skip(str(error))
    repos = tmp_path_factory.mktemp("repos")
    repo = f"harness-test-{uuid.uuid4().hex[:8]}/pkg"
    bundle = repos / "bundle.pem"
    bundle.write_text("certificate of inside.invalid")
    bench = Bench(
        client,
        make_upstream(repos / repo),
        repo,
        repos,
        BuildResult(instance_id="", image="", status="failed"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_INDEX_URL", "https://inside.invalid/simple")
        patch.setenv("PIP_CERT", str(bundle))
        patch.setenv("HTTPS_PROXY", "http://inside.invalid:3128")
        bench.built = bench.build()[0]
    yield bench
    own = f"harness-build.{socket.gethostname()}.{os.getpid()}."
    left = bench.client.containers.list(all=True, filters={"name": own})
    for image in all_images(bench.client):
        for tag in image.tags:
            if repo.split("/")[0] in tag:
                bench.client.images.remove(tag, force=True)
    assert left == []


@pytest.mark.docker
def test_the_image_is_labelled_and_tagged_as_the_row_says(bench: Bench) -> None:
    assert (bench.built.status, bench.built.error) == ("built", "")
    image = bench.client.images.get(f"{bench.repo}:1")
    assert image.id == bench.built.digest
    assert image.labels[f"{LABEL}base-commit"] == bench.upstream.base
    assert image.labels[f"{LABEL}recipe"] == bench.recipe().digest
    assert image.labels[f"{LABEL}debian.release-file"].startswith("sha256:")


@pytest.mark.docker
def test_an_evaluation_script_runs_unchanged_without_network(bench: Bench) -> None:
    script = bench.instance().eval_script
    output = bench.run(f"bash -s <<'SCRIPT'\n{script}\nSCRIPT\n")
    assert "nothing to commit, working tree clean" in output
    assert "Successfully installed pkg-1" in output
    assert "41 /opt/miniconda3/envs/testbed (3, 11)" in output


@pytest.mark.docker
def test_a_plain_shell_and_a_login_shell_have_the_environment(bench: Bench) -> None:
    found = bench.run("which python; bash -lc 'which python'").split()
    assert found == ["/opt/miniconda3/envs/testbed/bin/python"] * 2


@pytest.mark.docker
def test_nothing_of_the_future_is_in_the_image(bench: Bench) -> None:
    assert bench.run("git log --all --format=%s").split("\n")[:2] == ["commit 2", "commit 1"]
    assert bench.run("git for-each-ref --format='%(refname)'").split() == ["refs/heads/main"]
    assert bench.run("git remote; git tag; git reflog; git fsck --unreachable --no-reflogs") == ""
    objects = bench.run("git cat-file --batch --batch-all-objects")
    assert "ANSWER = 41" in objects
    assert SECRET not in objects


@pytest.mark.docker
def test_no_trace_of_the_building_machine_is_in_any_layer(bench: Bench) -> None:
    image = bench.client.images.get(f"{bench.repo}:1")
    tail, found = b"", b""
    for chunk in image.save():
        tail = tail[-100:] + bytes(chunk)
        found += b"inside.invalid" * (b"inside.invalid" in tail)
    assert found == b""
    assert bench.run(f"ls -d {FOLDER} || true").startswith("ls: cannot access")
    assert json.dumps(image.attrs["Config"]["Env"]).count("=") == 1


@pytest.mark.docker
def test_a_second_build_finds_the_image_and_force_makes_it_anew(bench: Bench) -> None:
    before = bench.client.images.get(f"{bench.repo}:1").id
    again = bench.build()[0]
    assert (again.status, again.digest) == ("present", before)
    forced = bench.build(force=True)[0]
    assert forced.status == "built"
    assert forced.digest != before


@pytest.mark.docker
def test_another_recipe_makes_the_image_anew(bench: Bench) -> None:
    other = bench.instance(image=f"{bench.repo}:other")
    bench.client.images.get(f"{bench.repo}:1").tag(bench.repo, "other")
    assert bench.build(other)[0].status == "present"
    recipe = bench.recipe(install="echo made > made.txt")
    assert bench.build(other, recipe=recipe)[0].status == "built"
    assert "/made.txt" in bench.run("cat .git/info/exclude", tag="other")
    assert "nothing to commit" in bench.run("git status", tag="other")


@pytest.mark.docker
def test_a_recipe_with_a_source_distribution_needs_no_mirror(bench: Bench, tmp_path: Path) -> None:
    fixed = (bench.upstream.path / "pkg.py").read_text().strip()
    tree = tmp_path / "pkg-1"
    shutil.copytree(bench.upstream.path, tree, ignore=shutil.ignore_patterns(".git"))
    (tree / "test_pkg.py").write_text("import pkg\n")
    archive = tmp_path / "pkg-1.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(tree, "pkg-1")
    sdist = Sdist(name="pkg", version="1", sha256=hashlib.sha256(archive.read_bytes()).hexdigest())
    patches = {
        "test_patch": "--- /dev/null\n+++ b/test_pkg.py\n@@ -0,0 +1 @@\n+import pkg\n",
        "patch": f"--- a/pkg.py\n+++ b/pkg.py\n@@ -1 +1 @@\n-ANSWER = 41\n+{fixed}\n",
    }
    base = commit_base(archive, tmp_path / "once", patches, message=f"{bench.repo} 1.0")
    (tmp_path / "sdists").mkdir()
    archive.rename(tmp_path / "sdists" / f"pkg-1-{sdist.sha256[:16]}.tar.gz")
    result = bench.build(
        bench.instance(image=f"{bench.repo}:sdist", base_commit=base, **patches),
        recipe=bench.recipe(sdist=sdist),
        cache=tmp_path,
    )[0]
    assert (result.status, result.error) == ("built", "")
    shown = bench.run("git log --all --format=%H; git ls-files; cat pkg.py", tag="sdist").split(
        "\n"
    )
    assert shown[:5] == [base, "backend.py", "pkg.py", "pyproject.toml", "ANSWER = 41"]


@pytest.mark.docker
def test_build_containers_of_dead_processes_are_removed(bench: Bench) -> None:
    dead, living = (
        bench.client.containers.create(
            f"{bench.repo}:1", name=f"harness-build.{socket.gethostname()}.{process}.test"
        )
        for process in (2**22 + 1, os.getpid())
    )
    try:
        bench.build()
        left = {each.id for each in bench.client.containers.list(all=True)}
    finally:
        living.remove()
    assert dead.id not in left
    assert living.id in left


@pytest.mark.docker
def test_an_image_that_was_pulled_is_left_alone(bench: Bench) -> None:
    base = next(tag for image in all_images(bench.client) for tag in image.tags if "base" in tag)
    result = bench.build(bench.instance(image=base))[0]
    assert result.status == "present"


def missing_mirror(bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"repo": "nobody/nothing"}, {"repo": "nobody/nothing"}


def missing_commit(bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"base_commit": "e" * 40}, {}


def unknown_python(bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    return {}, {"python": "3.6"}


def failing_install(bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    return {}, {"install": "echo no compiler here; exit 3"}


def changing_install(bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    return {}, {"install": "echo >> pkg.py"}


def missing_recipe(bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"version": "2.0"}, {}


def name_of_a_base(bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"image": "swe-harness/base.bookworm:mine"}, {}


@pytest.mark.docker
@pytest.mark.parametrize(
    ("case", "error"),
    [
        (name_of_a_base, "a row cannot replace"),
        (missing_mirror, "no git repository of nobody/nothing"),
        (missing_commit, "has no commit " + "e" * 40),
        (unknown_python, "no Debian release here has Python 3.6"),
        (failing_install, "(exit 3):\nno compiler here"),
        (changing_install, "install changed files of the commit"),
        (missing_recipe, "no recipe for"),
    ],
)
def test_a_failure_says_why_and_stops_no_other(
    bench: Bench,
    case: Callable[[Bench], tuple[dict[str, Any], dict[str, Any]]],
    error: str,
) -> None:
    row, recipe = case(bench)
    bad = bench.instance(**{"instance_id": "bad-1", "image": f"{bench.repo}:bad"} | row)
    pulled = bench.instance(instance_id="good-1", image=f"{bench.repo}:pulled")
    bench.client.images.get(f"swe-harness/env.{bench.repo.replace('/', '_1776_')}:1.0").tag(
        f"{bench.repo}", "pulled"
    )
    failed, other = bench.build(bad, pulled, recipe=bench.recipe(**recipe))
    bench.client.images.remove(f"{bench.repo}:pulled")
    assert failed.status == "failed"
    assert error in failed.error
    assert other.status == "present"
    assert bench.client.images.list(f"{bench.repo}:bad") == []
