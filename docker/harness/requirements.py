"""Print requirements that pyproject.toml states: `base`, an extra's name, or a package's name."""

import re
import sys
import tomllib
from pathlib import Path


def main(wanted: list[str]) -> None:
    """Print one requirement a line. Exits with a message for a name that is not stated."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    groups: dict[str, list[str]] = {
        "base": project["dependencies"],
        **project["optional-dependencies"],
    }
    stated = {
        re.split(r"[^\w.-]", line, maxsplit=1)[0]: [line]
        for lines in groups.values()
        for line in lines
    }
    for name in wanted:
        found = groups.get(name) or stated.get(name)
        if found is None:
            sys.exit(f"pyproject.toml states no extra and no requirement {name!r}")
        print(*found, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
