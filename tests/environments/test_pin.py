"""A lock says what images hold, a rebuild holds the same, and every change is named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.environments import pin as pin_module
from harness.environments import verify as verify_module
from harness.environments.lock import Lock, LockError, load_lock, load_locks
from harness.environments.pin import LockDifferenceError, check_against_lock, pin
from harness.environments.process_images import build_process_image
from harness.environments.recipe import Recipe
from harness.environments.verify import sample, verify
from tests.environments import fake_sdist as fake

INSTALL = fake.INSTALL + '; echo \'VALUE = 1 in {"a", "b"}\' > $(dirname $(which python))/../x.py'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache root of its own, whose recipe everybody finds."""
    cache = tmp_path / "swe-harness"
    cache.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    recipe = fake.put_in_cache(cache)
    recipes = {(recipe.repo, recipe.version): recipe}
    for module in (pin_module, verify_module):
        monkeypatch.setattr(module, "known_recipes", lambda: recipes)
    return cache


@pytest.fixture
def image(cache: Path) -> Path:
    return build_process_image(fake.instance(), fake.put_in_cache(cache), cache, lambda text: None)


@pytest.fixture
def lock(image: Path) -> Lock:
    return Lock().with_row(*pin(fake.instance(), str(image), "process"))


def test_a_lock_is_the_same_after_a_round_trip(lock: Lock, tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a.jsonl"
    lock.save(path)
    before = path.read_bytes()
    assert load_lock(path) == lock == load_locks(path.parent, "process")
    assert load_locks(path.parent, "docker") == Lock(tables=lock.tables)
    load_lock(path).save(path)
    assert path.read_bytes() == before
    assert str(tmp_path) not in before.decode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"tree"', '"trees"'), r"line 2: "),
        (lambda text: text + text.splitlines()[-1], r"line 3: a second row for owner__pkg-1"),
        (lambda text: text.splitlines()[-1], r"line 1: no table sha256:"),
        (lambda text: text.replace('"packages": []', '"packages": ["a==1"]'), "not those of"),
        (lambda text: "nothing", "line 1: "),
    ],
)
def test_a_malformed_lock_is_refused(
    lock: Lock, tmp_path: Path, change: Callable[[str], str], said: str
) -> None:
    path = tmp_path / "a.jsonl"
    lock.save(path)
    assert len(path.read_text().splitlines()) == 2
    path.write_text(change(path.read_text()))
    with pytest.raises(LockError, match=said):
        load_lock(path)


def test_a_rebuild_holds_what_the_lock_says(cache: Path, image: Path, lock: Lock) -> None:
    before = sorted(path.name for path in cache.rglob("*") if "contents" not in path.parts)
    (result,) = verify(
        [fake.instance()],
        "process",
        lock,
        present={"owner__pkg-1": str(image)},
        on_progress=lambda text: None,
    )
    assert (result.status, result.error, result.difference) == ("same", "", None)
    after = sorted(path.name for path in cache.rglob("*") if "contents" not in path.parts)
    assert after == before


def test_another_recipe_differs_and_the_files_are_named(
    cache: Path, image: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fake.put_in_cache(cache, install=INSTALL)
    monkeypatch.setattr(verify_module, "known_recipes", lambda: {("owner/pkg", "1.0"): other})
    (result,) = verify(
        [fake.instance()],
        "process",
        lock,
        present={"owner__pkg-1": str(image)},
        on_progress=lambda text: None,
    )
    assert result.status == "differs"
    assert result.difference is not None
    fields = {field.field: field for field in result.difference.fields}
    assert fields["environment"].details == ("+ /x.py",)


def change_tree(image: Path) -> None:
    (image / "testbed/pkg.py").write_text("def answer():\n    return 43\n")


def change_mode(image: Path) -> None:
    (image / "testbed/pkg.py").chmod(0o755)


def add_link(image: Path) -> None:
    (image / "testbed/link").symlink_to("pkg.py")


def add_ref(image: Path) -> None:
    shutil.copy(image / "testbed/.git/refs/heads/main", image / "testbed/.git/refs/heads/other")


def add_object(image: Path) -> None:
    fake_object = next((image / "testbed/.git/objects").glob("[0-9a-f]*/*"))
    fake_object.unlink()


def add_package(image: Path) -> None:
    site = next((image / "../../environments").resolve().glob("*/envs/testbed/lib/*/site-packages"))
    (site / "new-1.0.dist-info").mkdir()
    (site / "new-1.0.dist-info" / "METADATA").write_text("Name: new\nVersion: 1.0\n\nHello: x\n")


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        (change_tree, ["tree"]),
        (change_mode, ["tree"]),
        (add_link, ["tree"]),
        (add_ref, ["git"]),
        (add_object, ["git"]),
        (add_package, ["packages", "environment"]),
    ],
)
def test_a_changed_image_is_refused_unless_allowed(
    image: Path, lock: Lock, change: Callable[[Path], None], fields: list[str]
) -> None:
    images = {"owner__pkg-1": str(image)}
    instances = [fake.instance()]
    assert check_against_lock(instances, images, "process", lock=lock, on_progress=print) == []
    change(image)
    with pytest.raises(LockDifferenceError, match=rf"owner__pkg-1: {fields[0]}"):
        check_against_lock(instances, images, "process", lock=lock, on_progress=print)
    (found,) = check_against_lock(
        instances, images, "process", lock=lock, allowed=True, on_progress=print
    )
    assert [field.field for field in found.fields] == fields
    if change is add_package:
        assert found.fields[0].details == ("+ new==1.0",)


def test_another_state_of_the_system_is_said_and_not_refused(image: Path, lock: Lock) -> None:
    row = lock.rows["owner__pkg-1"].model_copy(update={"python": "3.11.0"})
    images = {"owner__pkg-1": str(image)}
    said: list[str] = []
    older = Lock(rows={"owner__pkg-1": row}, tables=lock.tables)
    (found,) = check_against_lock(
        [fake.instance()], images, "process", lock=older, on_progress=said.append
    )
    assert [field.field for field in found.fields] == ["python"]
    assert said == ["not as locked: owner__pkg-1: python"]


def test_without_a_row_nothing_is_checked(image: Path) -> None:
    images = {"owner__pkg-1": str(image)}
    instances = [fake.instance()]
    assert check_against_lock(instances, images, "process", lock=Lock(), on_progress=print) == []


def test_what_is_missing_is_said(cache: Path, lock: Lock) -> None:
    other = fake.instance(instance_id="owner__pkg-2")
    results = verify(
        [fake.instance(), other], "process", lock, present={}, anew=False, on_progress=print
    )
    assert [(each.status, each.error[:20]) for each in results] == [
        ("missing", "there is no image he"),
        ("missing", "the lock has no row "),
    ]


def test_a_sample_spreads_over_environments() -> None:
    instances = [
        fake.instance(instance_id=f"owner__{repo}-{number}", repo=f"owner/{repo}")
        for repo in ("a", "b", "c")
        for number in (1, 2, 3)
    ]
    chosen = [each.instance_id for each in sample(instances, 4)]
    assert chosen == ["owner__a-1", "owner__b-1", "owner__c-1", "owner__a-2"]
    assert len(sample(instances, 100)) == 9


def test_the_recipe_is_in_the_row(lock: Lock, cache: Path) -> None:
    recipe: Recipe = fake.put_in_cache(cache)
    assert lock.rows["owner__pkg-1"].recipe == recipe.digest
