"""What to make instances of: sources and settings, from the command line or a YAML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from harness.config.load import ConfigError, parse_yaml
from harness.datagen.synthesis.settings import ALL_OPERATORS, Settings
from harness.datagen.synthesis.sources import Source, find_source
from harness.records import Record


class Order(Record):
    """A manifest: `sources` as on the command line, and the settings that differ from default."""

    schema_version: Literal[1] = 1
    title: str = ""
    sources: tuple[str, ...]
    settings: Settings = Settings()

    def find(self, cache: Path) -> list[Source]:
        """All sources, in the cache afterwards. Raises ImageError, ConfigError."""
        found = [find_source(one, cache) for one in self.sources]
        slugs = [one.slug for one in found]
        for one in found:
            if slugs.count(one.slug) > 1:
                raise ConfigError(f"{one.given}: {one.repo} {one.version} is given twice")
        return found


def load_order(given: Sequence[str], changes: Mapping[str, Any]) -> Order:
    """The order that names or one manifest make, with some settings changed. Raises ConfigError."""
    manifests = [one for one in given if one.endswith((".yaml", ".yml"))]
    if manifests and len(given) > 1:
        raise ConfigError(f"{manifests[0]}: a manifest stands alone; put the other sources in it")
    order = parse_yaml(Path(manifests[0]), Order) if manifests else Order(sources=tuple(given))
    unknown = set(changes.get("operators", ())) - set(ALL_OPERATORS)
    if unknown:
        raise ConfigError(
            f"no operator {', '.join(sorted(unknown))}; there are {', '.join(ALL_OPERATORS)}"
        )
    settings = Settings.model_validate(order.settings.model_dump() | dict(changes))
    return order.model_copy(update={"settings": settings})
