"""What was least recently used goes first; what is in use or shared stays."""

import io
import os
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.client import DockerClient

from harness.environments.base_images import LABEL
from harness.environments.engine import all_images, connect
from harness.environments.errors import ImageError
from harness.environments.inventory import docker_items, process_items
from harness.environments.process_images import build_process_image
from harness.environments.prune import Item, PruneReport, parse_size, prune
from harness.environments.usage import in_use, last_used, touch, using
from tests.environments import fake_sdist as fake


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "swe-harness"


class Store:
    """Items that are taken out of a list when they are removed."""

    def __init__(self) -> None:
        self.there: dict[str, Item] = {}

    def add(
        self,
        name: str,
        parts: dict[str, int],
        *,
        last_used: float = 0,
        in_use: bool = False,
        needs: tuple[str, ...] = (),
    ) -> None:
        def remove() -> None:
            if name == "stuck":
                raise ImageError("stuck stays")
            del self.there[name]

        self.there[name] = Item(
            name, "image", name, last_used, in_use, remove, parts, frozenset(needs)
        )

    def prune(self, budget: int, *foreign: str, dry_run: bool = False) -> PruneReport:
        return prune(lambda: (list(self.there.values()), foreign), budget, dry_run=dry_run)


@pytest.fixture
def store() -> Store:
    store = Store()
    store.add("base", {"base": 100}, last_used=1)
    store.add("old", {"base": 100, "old": 10}, last_used=2, needs=("base",))
    store.add("new", {"base": 100, "new": 20}, last_used=3, needs=("base",))
    return store


def test_the_least_recently_used_goes_first_and_shared_parts_count_once(store: Store) -> None:
    report = store.prune(125)
    assert [(each.name, each.freed_bytes) for each in report.removed] == [("old", 10)]
    assert (report.before_bytes, report.after_bytes) == (130, 120)
    assert set(store.there) == {"base", "new"}


def test_a_shared_part_is_freed_with_the_last_that_has_it(store: Store) -> None:
    report = store.prune(0)
    assert [(each.name, each.freed_bytes) for each in report.removed] == [
        ("old", 10),
        ("new", 20),
        ("base", 100),
    ]
    assert report.after_bytes == 0


def test_what_is_in_use_stays_with_what_it_needs(store: Store) -> None:
    store.add("old", {"base": 100, "old": 10}, in_use=True, needs=("base",))
    report = store.prune(0)
    assert set(store.there) == {"base", "old"}
    assert report.kept_in_use == ("old",)


def test_parts_of_others_free_nothing(store: Store) -> None:
    report = store.prune(0, "base")
    assert report.removed[-1].freed_bytes == 0
    assert report.after_bytes == 100


def test_a_dry_run_removes_nothing_and_says_the_same(store: Store) -> None:
    dry = store.prune(0, dry_run=True)
    assert len(store.there) == 3
    assert store.prune(0).removed == dry.removed


def test_what_cannot_be_removed_counts_on(store: Store) -> None:
    store.add("stuck", {"stuck": 7})
    report = store.prune(0)
    assert report.removed[0].error == "stuck stays"
    assert report.after_bytes == 7


def test_within_the_budget_nothing_goes(store: Store) -> None:
    assert store.prune(130).removed == ()


@pytest.mark.parametrize(
    ("text", "size"), [("40GB", 40 * 10**9), ("1.5 GiB", 3 * 2**29), ("7", 7), ("2k", 2000)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "4 pounds", "-1GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="write 40GB"):
        parse_size(text)


def test_use_is_noted_and_ends_with_the_process() -> None:
    assert last_used("a") == 0.0
    with using(["a", "b"]):
        assert in_use() == {"a", "b"}
        assert last_used("a") > 0
    assert in_use() == frozenset()
    script = (
        "import os; from harness.environments.usage import using\n"
        "use = using(['c']); use.__enter__(); print('in', flush=True); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", script], env=dict(os.environ), cwd=Path.cwd())
    assert in_use() == frozenset()


def test_another_process_sees_what_is_in_use() -> None:
    script = "from harness.environments.usage import in_use; print(sorted(in_use()))"
    with using(["a"]):
        said = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path.cwd()
        )
    assert said.stdout.strip() == "['a']"


def test_process_images_go_and_their_environment_after_the_last(cache: Path) -> None:
    recipe = fake.put_in_cache(cache)
    first, second = (
        build_process_image(
            fake.instance(instance_id=f"owner__pkg-{n}"), recipe, cache, lambda text: None
        )
        for n in (1, 2)
    )
    environment = next(path for path in (cache / "environments").iterdir() if path.is_dir())
    touch([str(second)])
    os.utime(first, (1, 1))

    def go(budget: int) -> None:
        prune(lambda: (process_items(cache), ()), budget)

    total = prune(lambda: (process_items(cache), ()), 10**12).before_bytes
    go(total - 1)
    assert (first.exists(), second.exists(), environment.exists()) == (False, True, True)
    with using([str(second)]):
        go(0)
        assert second.exists()
        assert environment.exists()
    go(0)
    assert not second.exists()
    assert not environment.exists()


@pytest.fixture
def client() -> Iterator[DockerClient]:
    try:
        client = connect()
    except ImageError as error:
        pytest.skip(str(error))
    yield client
    for image in all_images(client):
        for tag in image.tags:
            if tag.startswith("harness-test-prune"):
                client.images.remove(tag, force=True)


@pytest.mark.docker
def test_docker_images_go_by_layers(client: DockerClient) -> None:
    name = f"harness-test-prune-{uuid.uuid4().hex[:8]}"

    def layer(on: str | None, tag: str, size: int) -> None:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            member = tarfile.TarInfo(tag)
            member.size = size
            tar.addfile(member, io.BytesIO(os.urandom(size)))
        labels = [f'LABEL "{LABEL}recipe"="x"']
        if on is None:
            client.api.import_image_from_data(
                archive.getvalue(), repository=name, tag=tag, changes=labels
            )
            return
        container = client.containers.create(f"{name}:{on}", ["true"])
        container.put_archive("/", archive.getvalue())
        container.commit(repository=name, tag=tag, changes=labels)
        container.remove()

    layer(None, "base", 1_000_000)
    layer("base", "one", 20_000)
    layer("base", "two", 30_000)
    held = client.containers.create(f"{name}:two", ["true"])

    def own() -> tuple[list[Item], list[str]]:
        items, foreign = docker_items()
        mine = [item for item in items if item.name.startswith(name)]
        return mine, foreign

    try:
        report = prune(own, 0)
        freed = {each.name.rpartition(":")[2]: each.freed_bytes for each in report.removed}
        assert set(freed) == {"one"}
        assert 20_000 <= freed["one"] < 30_000
        assert report.kept_in_use == (f"{name}:two",)
    finally:
        held.remove()
    report = prune(own, 0)
    assert [each.name for each in report.removed] == [f"{name}:two", f"{name}:base"]
    assert report.removed[1].freed_bytes >= 1_000_000
    assert client.images.list(name) == []


@pytest.mark.docker
def test_an_image_that_goes_away_while_they_are_listed_is_left_out(
    client: DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = client.api.images(quiet=True)
    monkeypatch.setattr(client.api, "images", lambda **_: [*listed, f"sha256:{'0' * 64}"])
    assert {image.id for image in all_images(client)} <= set(listed)
