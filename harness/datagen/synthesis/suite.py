"""Instances of many packages: a folder with rows, recipes and yields, continued after any stop.

<out>/settings.json     what a second start must share
<out>/instances.jsonl   rows in SWE-bench's schema
<out>/recipes.yaml      their environments
<out>/details.jsonl     of each row: operator, place, difficulty
<out>/stats.json        yields by package and operator
<out>/packages/         what is known of each package's candidates
"""

import json
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.config import ConfigError
from harness.datagen.edit_bugs import source_files
from harness.datagen.edit_bugs_trial import Survey
from harness.datagen.rows import assemble_row
from harness.datagen.suite import as_upstream
from harness.datagen.synthesis.candidates import Candidate, candidates
from harness.datagen.synthesis.judge import Finding
from harness.datagen.synthesis.package import Package, write_recipes
from harness.datagen.synthesis.settings import Settings
from harness.datagen.synthesis.sources import Source
from harness.datagen.synthesis.yields import PackageYield
from harness.datagen.trial import TrialError
from harness.environments.errors import ImageError
from harness.environments.recipe import OWN_RECIPES, Recipe
from harness.environments.source import fetch_sdist, unpack_sdist
from harness.records import Instance
from harness.sandboxes.base import SandboxFailure, SandboxProvider

Progress = Callable[[str], None]
MoreOf = Callable[[Source, Mapping[str, str], Survey | None], Sequence[Candidate]]
Reword = Callable[[Finding], Finding]
ROWS, RECIPES, STATS, DETAILS = "instances.jsonl", "recipes.yaml", "stats.json", "details.jsonl"
_SETTINGS = "settings.json"
_OPTIONS = ("--color=no",)  # over the package's own: the log's parser reads no colours
_DETAILS = {"instance_id", "operator", "kind", "path", "function", "estimate"}


def no_more(source: Source, files: Mapping[str, str], survey: Survey | None) -> Sequence[Candidate]:
    """No candidates besides those of syntax trees."""
    return ()


def keep_statement(finding: Finding) -> Finding:
    """The statement as it is."""
    return finding


def synthesise(
    sources: Sequence[Source],
    settings: Settings,
    out: Path,
    *,
    known: Mapping[tuple[str, str], Recipe],
    provider: SandboxProvider,
    cache: Path,
    workers: int = 1,
    more: MoreOf = no_more,
    reword: Reword = keep_statement,
    on_progress: Progress = lambda text: None,
) -> list[PackageYield]:
    """Make instances of every source; a package that fails stops no other and says why.

    known: recipes to take where they have a source's archive. more: candidates of a package that
    are not made of syntax trees. reword: the last word on a problem statement.
    Rows are written after each package; a second start continues, and makes the same rows.
    Raises ConfigError, and what `more` and `reword` raise.
    """
    sources = [_as_known(one, known.values()) for one in sources]
    out.mkdir(parents=True, exist_ok=True)
    _same_settings(out / _SETTINGS, settings)
    provider.cleanup("datagen")
    own = cache / OWN_RECIPES
    own.mkdir(parents=True, exist_ok=True)
    done: dict[str, tuple[PackageYield, list[Instance]]] = {}
    writing = threading.Lock()

    def work(source: Source) -> None:
        package = Package(
            source,
            settings,
            out / "packages" / source.slug,
            provider=provider,
            cache=cache,
            known=[one for one in known.values() if one.sdist],
            more=lambda files, survey: more(source, files, survey),
            sandboxes=max(1, workers // len(sources)),
            on_progress=on_progress,
        )
        try:
            result = package.build()
        except (ImageError, TrialError, SandboxFailure) as error:
            on_progress(f"{source.repo}: {error}")
            result = PackageYield(repo=source.repo, version=source.version, problem=str(error))
        rows = []
        if (recipe := result.recipe) is not None:
            write_recipes(own / f"{source.slug}.yaml", [recipe])
            findings = tuple(reword(one) for one in result.findings)
            result = result.model_copy(update={"findings": findings})
            rows = [_row(one, recipe, cache, settings) for one in findings]
        with writing:
            done[source.slug] = result.model_copy(update={"given": source.given}), rows
            _write(out, [done[one.slug] for one in sources if one.slug in done])
            on_progress(f"{len(done)} of {len(sources)} packages done")

    with ThreadPoolExecutor(max(1, min(workers, len(sources)))) as pool:
        list(pool.map(work, sources))
    return [done[one.slug][0] for one in sources]


def _as_known(source: Source, known: Iterable[Recipe]) -> Source:
    """A source under the name that the known recipe of its archive has."""
    for one in known:
        if one.sdist and one.sdist.sha256 == source.archive.sha256:
            return source.model_copy(update={"repo": one.repo, "version": one.version})
    return source


def count_candidates(
    sources: Sequence[Source], settings: Settings, cache: Path, more: MoreOf = no_more
) -> dict[str, Counter[str]]:
    """How many candidates each package has by operator, covered or not; nothing is run."""
    found = {}
    for source in sources:
        with tempfile.TemporaryDirectory() as name:
            unpack_sdist(fetch_sdist(source.archive, cache), Path(name))
            files = source_files(Path(name))
        extra = more(source, files, None)
        every = candidates(
            files, None, operators=settings.operators, seed=settings.seed, more=extra
        )
        found[source.given] = Counter(one.operator for one in every)
    return found


def _row(finding: Finding, recipe: Recipe, cache: Path, settings: Settings) -> Instance:
    row = assemble_row(
        finding,
        recipe,
        cache,
        created_at=settings.created_at,
        tests=finding.test_files,
        options=_OPTIONS,
    )
    return row.model_copy(
        update={"FAIL_TO_PASS": finding.fail_to_pass, "PASS_TO_PASS": finding.pass_to_pass}
    )


def _same_settings(path: Path, settings: Settings) -> None:
    """Keep the settings of the first start. Raises ConfigError for others."""
    if path.exists():
        try:
            earlier = Settings.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ConfigError(f"{path}: not the settings of such a folder: {error}") from None
        for name in Settings.model_fields:
            was, now = getattr(earlier, name), getattr(settings, name)
            if was != now:
                raise ConfigError(
                    f"{path}: {name} is {was!r}, now {now!r}; give the same, or another folder "
                    "with --out"
                )
    path.write_text(settings.model_dump_json(indent=1) + "\n")


def _write(out: Path, done: Sequence[tuple[PackageYield, list[Instance]]]) -> None:
    """Rows, recipes, details and yields of the packages that are done."""
    rows = [row for _, found in done for row in found]
    findings = [one for result, _ in done for one in result.findings]
    details = [
        one.model_dump(mode="json", include=_DETAILS) | {"score": one.estimate.score}
        for one in findings
    ]
    _replace(out / ROWS, _lines([as_upstream(row) for row in rows]))
    _replace(out / DETAILS, _lines(details))
    write_recipes(out / RECIPES, [result.recipe for result, _ in done if result.recipe])
    stats = summary([result for result, _ in done])
    _replace(out / STATS, json.dumps(stats, indent=1, ensure_ascii=False) + "\n")


def summary(results: Sequence[PackageYield]) -> dict[str, Any]:
    """Yields of all packages together, by operator, and of each one."""
    operators: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: Counter[str] = Counter()
    for result in results:
        for name, outcomes in result.operators.items():
            operators[name].update(outcomes)
        for name, spent in result.operator_seconds.items():
            seconds[name] += spent  # type: ignore[assignment]
    instances = sum(result.instances for result in results)
    cpu = sum(result.cpu_seconds for result in results)
    return {
        "instances": instances,
        "tried": sum(result.tried for result in results),
        "packages": sum(1 for result in results if result.instances),
        "cpu_seconds": round(cpu, 1),
        "cpu_seconds_per_instance": round(cpu / instances, 2) if instances else None,
        "operators": {
            name: {
                "tried": outcomes.total(),
                "yield": round(outcomes["instance"] / outcomes.total(), 3),
                "cpu_seconds": round(seconds[name], 1),
                **dict(outcomes.most_common()),
            }
            for name, outcomes in sorted(operators.items())
        },
        "by_package": [result.model_dump(mode="json") for result in results],
    }


def _lines(records: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records)


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.rename(path)
