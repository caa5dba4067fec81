"""Which names are one repository: letter case, former names, mirrors, forks."""

import re
from collections.abc import Iterable, Mapping
from functools import cache

import yaml

from harness.suites.manifests import manifests_root

_ADDRESS = re.compile(r"(?:https?://|ssh://)?(?:git@)?(?:www\.)?github\.com[/:]")
_NAME = re.compile(r"[a-z0-9_.\-]+/[a-z0-9_.\-]+")
_MIRROR = re.compile(r"[^/]+/(?P<owner>[^/]+?)__(?P<name>[^/]+?)(?:\.[0-9a-f]{7,40})?")


class RepositoryNameError(ValueError):
    """A text names no repository."""


@cache
def former_names() -> Mapping[str, str]:
    """Today's name of a repository by each former one: `manifests/leakage/repositories.yaml`."""
    text = (manifests_root() / "leakage" / "repositories.yaml").read_text(encoding="utf-8")
    today = yaml.safe_load(text)["former_names"]
    return {old.casefold(): new.casefold() for new, names in today.items() for old in names}


def canonical_repository(repository: str) -> str:
    """One name for all spellings of a repository: an address, any letter case, a former name, a
    mirror named `owner__name` or `owner__name.commit`.

    Raises RepositoryNameError.
    """
    name = _ADDRESS.sub("", repository.strip().casefold(), count=1)
    name = name.strip("/").removesuffix(".git")
    if not _NAME.fullmatch(name):
        raise RepositoryNameError(f"expected owner/name, found {repository[:200]!r}")
    if mirror := _MIRROR.fullmatch(name):
        name = f"{mirror['owner']}/{mirror['name']}"
    return former_names().get(name, name)


def forks(
    train: Iterable[tuple[str, str]], evaluation: Iterable[tuple[str, str]]
) -> dict[str, tuple[str, str]]:
    """Training repositories that share a commit with an evaluation repository of another name:
    that repository and the commit, the least of several. Both are pairs of name and commit.
    """
    owners: dict[str, str] = {}
    for repository, commit in evaluation:
        owners[commit] = min(repository, owners.get(commit, repository))
    found: dict[str, tuple[str, str]] = {}
    known = set(owners.values())
    for repository, commit in train:
        owner = owners.get(commit)
        if owner is not None and repository not in known:
            found[repository] = min(found.get(repository, (owner, commit)), (owner, commit))
    return found
