"""All recipes that this machine knows."""

from harness.environments.recipe import OWN_RECIPES, Recipe, load_recipes
from harness.records.cache import cache_root
from harness.suites.manifests import manifests_root


def known_recipes() -> dict[tuple[str, str], Recipe]:
    """The shipped recipes, and those that `harness datagen instances` made here, by repository and
    version; a shipped one counts before another of the same name.

    Raises RecipeError naming file, entry and field.
    """
    own = cache_root() / OWN_RECIPES
    made = load_recipes(own) if own.is_dir() else {}
    return made | load_recipes(manifests_root() / "environments")
