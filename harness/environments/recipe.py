"""Environment recipes: all that is needed to build the image of a (repository, version)."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, StringConstraints, ValidationError

from harness.records import Instance, Record

OWN_RECIPES = "recipes"  # folder of the cache with the recipes that were made on this machine


class Sdist(Record):
    """A source distribution on PyPI, pinned by hash."""

    name: str
    version: str
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Recipe(Record):
    """How to make the environment of one repository at one version.

    The image has the layout that SWE-bench evaluation scripts expect: `/testbed` is a git work
    tree at the base commit, `/opt/miniconda3/bin/activate` and `conda activate testbed` select
    the interpreter that the requirements are installed for.

    With `sdist`, the source is the pinned archive; the base commit of an instance is its tree
    with the instance's test patch and gold patch reverted, committed with fixed author and date,
    so that the same instance has the same base commit on every machine. Without, the source is
    the base commit of the repository's real history.
    """

    schema_version: Literal[1] = 1
    repo: str
    version: str
    python: str = Field(pattern=r"^3\.\d+$")
    sdist: Sdist | None = None
    apt: tuple[str, ...] = ()
    requirements: tuple[str, ...] = Field(
        (), description="Requirement lines, pinned; `--hash` options where known."
    )
    install: str = Field(
        "python -m pip install --no-build-isolation --no-deps -e .",
        description="Shell command that installs /testbed, run once in the image.",
    )

    @property
    def digest(self) -> str:
        """`sha256:` of the canonical JSON of the recipe."""
        return "sha256:" + hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class RecipeError(ValueError):
    """A recipe file is malformed, or no recipe fits an instance."""


def load_recipes(folder: Path) -> dict[tuple[str, str], Recipe]:
    """All recipes of a folder's YAML files (each a list), by repository and version.

    Raises RecipeError naming file, entry and field.
    """
    recipes: dict[tuple[str, str], Recipe] = {}
    for path in sorted(folder.glob("*.yaml")):
        for number, entry in enumerate(yaml.safe_load(path.read_text()) or [], start=1):
            try:
                recipe = Recipe.model_validate(entry)
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(str(part) for part in first["loc"])
                raise RecipeError(
                    f"{path}: entry {number}, field {field}: {first['msg']}"
                ) from None
            key = (recipe.repo, recipe.version)
            if key in recipes:
                raise RecipeError(f"{path}: entry {number}: second recipe for {key[0]} {key[1]}")
            recipes[key] = recipe
    return recipes


def recipe_for(instance: Instance, recipes: dict[tuple[str, str], Recipe]) -> Recipe:
    """The recipe of an instance. Raises RecipeError when there is none."""
    try:
        return recipes[instance.repo, instance.version]
    except KeyError:
        raise RecipeError(
            f"{instance.instance_id}: no recipe for {instance.repo} {instance.version}; "
            "add one under manifests/environments/ or pull the upstream image"
        ) from None
