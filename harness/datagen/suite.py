"""Build a synthesised suite: rows that anyone can rebuild to the same bytes."""

import gzip
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from harness.datagen.bugs import AuthoredSuite, Bug, load_authored
from harness.datagen.rows import make_row
from harness.datagen.trial import TrialError, compare, run_tests, visible_failures
from harness.environments.errors import ImageError
from harness.environments.process_images import build_process_image
from harness.environments.recipe import Recipe
from harness.records import Instance, Record
from harness.sandboxes.base import SandboxProvider
from harness.suites.manifest import PinnedPackage, SuiteManifest

Recipes = Mapping[tuple[str, str], Recipe]


class BuiltInstance(Record):
    """What became of one authored bug."""

    instance_id: str
    split: str
    row: Instance | None = None
    unsteady: tuple[str, ...] = ()
    problem: str = ""
    seconds: float = 0.0


def build_suite(
    folder: Path,
    *,
    recipes: Recipes,
    provider: SandboxProvider,
    cache: Path,
    repeat: int = 3,
    workers: int = 2,
    on_progress: Callable[[str], None] = lambda text: None,
) -> list[BuiltInstance]:
    """Build `<folder>.jsonl` and `<folder>.yaml` from the authored suite in a folder.

    Every bug's tests run `repeat` times without and with its fix, in process sandboxes; a bug that
    fails a check is reported with its problem, and the suite is written only when none does.
    Raises AuthoringError for malformed files.
    """
    suite, bugs = load_authored(folder)

    def build(bug: Bug) -> BuiltInstance:
        built = _build_instance(
            bug,
            suite,
            recipes=recipes,
            provider=provider,
            cache=cache,
            repeat=repeat,
            on_progress=on_progress,
        )
        on_progress(f"{bug.instance_id}: {built.problem or f'{built.seconds:.1f} s'}")
        return built

    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(build, bugs))
    if not any(result.problem for result in results):
        rows = [result.row for result in results if result.row]
        write_suite(folder, suite, rows, recipes)
    return results


def _build_instance(
    bug: Bug,
    suite: AuthoredSuite,
    *,
    recipes: Recipes,
    provider: SandboxProvider,
    cache: Path,
    repeat: int,
    on_progress: Callable[[str], None],
) -> BuiltInstance:
    began = time.monotonic()
    split = suite.split_of(bug.repo)
    try:
        recipe = recipe_of(bug.repo, recipes)
        row = make_row(bug, recipe, cache, created_at=suite.created_at)
        image = str(build_process_image(row, recipe, cache, on_progress))
        before = [run_tests(row, image, provider, fixed=False) for _ in range(repeat)]
        after = [run_tests(row, image, provider, fixed=True) for _ in range(repeat)]
        lists = compare(bug.instance_id, before, after, left_out=suite.left_out.get(bug.repo, {}))
        shown = visible_failures(row, image, provider, fixed=False)
        if shown:  # some fail in the pinned source itself
            shown -= visible_failures(row, image, provider, fixed=True)
        if shown:
            raise TrialError(f"{bug.instance_id}: {min(shown)} of the base tree shows the bug")
    except (ImageError, TrialError, ValueError) as error:
        return BuiltInstance(instance_id=bug.instance_id, split=split, problem=str(error))
    row = row.model_copy(
        update={"FAIL_TO_PASS": lists.fail_to_pass, "PASS_TO_PASS": lists.pass_to_pass}
    )
    return BuiltInstance(
        instance_id=bug.instance_id,
        split=split,
        row=row,
        unsteady=lists.unsteady,
        seconds=time.monotonic() - began,
    )


def recipe_of(repo: str, recipes: Recipes) -> Recipe:
    """The one recipe of a repository that has a source distribution. Raises ValueError."""
    found = [recipe for recipe in recipes.values() if recipe.repo == repo and recipe.sdist]
    if len(found) != 1:
        raise ValueError(f"{repo}: {len(found)} recipes with a source distribution, expected one")
    return found[0]


def write_suite(
    folder: Path,
    suite: AuthoredSuite,
    rows: Iterable[Instance],
    recipes: Recipes,
    *,
    compress: bool = False,
) -> None:
    """Write `<folder>.jsonl` (with `compress`, `<folder>.jsonl.gz`) and `<folder>.yaml`."""
    splits: dict[str, list[str]] = defaultdict(list)
    lines = []
    for row in rows:
        splits[suite.split_of(row.repo)].append(row.instance_id)
        lines.append(json.dumps(as_upstream(row), ensure_ascii=False) + "\n")
    content = "".join(lines).encode()
    if compress:
        content = gzip.compress(content, compresslevel=9, mtime=0)
    packages = []
    for repo, licence in sorted(suite.licences.items()):
        sdist = recipe_of(repo, recipes).sdist
        assert sdist is not None
        packages.append(PinnedPackage(**sdist.model_dump(), licence=licence))
    name = f"{folder.name}.jsonl.gz" if compress else f"{folder.name}.jsonl"
    manifest = SuiteManifest(
        name=suite.name,
        title=suite.title,
        licence=suite.licence,
        source=suite.source,
        kind="rows",
        file=name,
        sha256=hashlib.sha256(content).hexdigest(),
        splits={split: tuple(splits[split]) for split in suite.splits},
        packages=tuple(packages),
    )
    folder.with_name(name).write_bytes(content)
    folder.with_name(f"{folder.name}.yaml").write_text(
        yaml.safe_dump(
            manifest.model_dump(mode="json", exclude_none=True),
            sort_keys=False,
            allow_unicode=True,
            width=100,
        )
    )


def as_upstream(row: Instance) -> dict[str, object]:
    """The dataset's columns; its test lists are JSON text."""
    value = row.model_dump(mode="json", exclude={"image_assets"})
    for name in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        value[name] = json.dumps(value[name], ensure_ascii=False)
    return value
