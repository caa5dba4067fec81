"""Build a suite of single-edit bugs: the packages' yields, put together as rows."""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import Field

from harness.datagen.bugs import SUITE_FILE, AuthoredSuite, AuthoringError, load_record
from harness.datagen.edit_bugs import candidates, source_files
from harness.datagen.edit_bugs_package import PackageEdits, PackageYield
from harness.datagen.edit_bugs_rows import EditBug, make_edit_row
from harness.datagen.edit_bugs_trial import unpack_tree
from harness.datagen.suite import Recipes, recipe_of, write_suite
from harness.records import Instance
from harness.sandboxes.base import SandboxProvider

Progress = Callable[[str], None]


class EditSuite(AuthoredSuite):
    """`suite.yaml` of a suite of edits: where they come from, how many, and which are not taken."""

    seed: str
    most_instances: dict[str, int] = Field(description="Of a package, by repository or split.")
    most_failing: int = Field(ge=1, description="Test functions that may fail with an edit.")
    refused: dict[str, str] = Field({}, description="Instances that do not hold, and why.")

    def most_of(self, repo: str) -> int:
        """The instances of a package, at most. Raises AuthoringError when nothing says it."""
        for name in (repo, self.split_of(repo)):
            if name in self.most_instances:
                return self.most_instances[name]
        raise AuthoringError(f"{self.name}: most_instances has neither {repo} nor its split")


def build_edit_suite(
    folder: Path,
    *,
    recipes: Recipes,
    provider: SandboxProvider,
    cache: Path,
    limit: int | None = None,
    repos: tuple[str, ...] = (),
    workers: int = 1,
    on_progress: Progress = lambda text: None,
) -> list[PackageYield]:
    """Build `<folder>.jsonl.gz` and `<folder>.yaml` from `<folder>/suite.yaml`.

    limit: instances of a package, at most. repos: only these. A second start continues.
    Raises AuthoringError, TrialError, ImageError, SandboxFailure.
    """
    suite = load_record(folder / SUITE_FILE, EditSuite)
    provider.cleanup("datagen")
    every = [repo for split in suite.splits.values() for repo in split]
    if unknown := set(repos) - set(every):
        raise AuthoringError(f"{folder}: no {', '.join(sorted(unknown))}, only {', '.join(every)}")
    chosen = [repo for repo in every if not repos or repo in repos]

    def work(repo: str) -> PackageYield:
        most = suite.most_of(repo)
        package = PackageEdits(
            recipe_of(repo, recipes),
            cache,
            seed=suite.seed,
            most_failing=suite.most_failing,
            left_out=tuple(suite.left_out.get(repo, {})),
            refused=tuple(suite.refused),
            on_progress=on_progress,
        )
        return package.build(provider, most if limit is None else min(limit, most))

    def row(bug: EditBug) -> Instance:
        recipe = recipe_of(bug.repo, recipes)
        return make_edit_row(bug, recipe, cache, created_at=suite.created_at)

    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(work, chosen))
        bugs = [bug for result in results for bug in result.bugs]
        on_progress(f"writing {len(bugs)} rows")
        rows = list(pool.map(row, bugs))
    write_suite(folder, suite, rows, recipes, compress=True)
    return results


def count_candidates(folder: Path, *, recipes: Recipes, cache: Path) -> dict[str, int]:
    """How many edits each package has where every function is covered; nothing is run."""
    suite = load_record(folder / SUITE_FILE, EditSuite)
    found = {}
    for repos in suite.splits.values():
        for repo in repos:
            with tempfile.TemporaryDirectory() as name:
                tree = Path(name, "tree")
                unpack_tree(recipe_of(repo, recipes), cache, tree)
                everything = candidates(source_files(tree), None, seed=suite.seed)
                found[repo] = sum(1 for _ in everything)
    return found
