"""A recipe is proven by running the package's tests with it, in a sandbox without network."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from harness.datagen.edit_bugs_trial import PackageTests, package_tests
from harness.datagen.synthesis.infer import infer_recipe
from harness.datagen.synthesis.sources import Source
from harness.environments.errors import ImageError
from harness.environments.recipe import Recipe
from harness.sandboxes.base import SandboxProvider

_ROUNDS = 4
_MISSING = re.compile(r"No module named '(\w+)|requires (?:the )?['\"]?(\w+)['\"]? package")
_OPTION = re.compile(r"unrecognized arguments:([^\n]*)")
_SETTING = re.compile(r"(?:Unknown config option|unknown config option): (\w+)")
# Which distribution has a module or option that tests commonly want and metadata forgets.
_KNOWN: Mapping[str, str] = MappingProxyType(
    {
        "hypothesis": "hypothesis",
        "freezegun": "freezegun",
        "yaml": "pyyaml",
        "pytz": "pytz",
        "dateutil": "python-dateutil",
        "attr": "attrs",
        "six": "six",
        "mock": "mock",
        "numpy": "numpy",
        "simplejson": "simplejson",
        "typing_extensions": "typing-extensions",
        "setuptools": "setuptools",
        "parameterized": "parameterized",
        "nose": "pynose",
        "pytest_cov": "pytest-cov",
        "pytest_mock": "pytest-mock",
        "pytest_asyncio": "pytest-asyncio",
        "--cov": "pytest-cov",
        "--no-cov": "pytest-cov",
        "--benchmark": "pytest-benchmark",
        "--timeout": "pytest-timeout",
        "--doctest-glob": "pytest",
        "-n": "pytest-xdist",
        "--dist": "pytest-xdist",
        "--numprocesses": "pytest-xdist",
        "timeout": "pytest-timeout",
        "asyncio_mode": "pytest-asyncio",
    }
)


def prove_recipe(
    source: Source,
    tree: Path,
    provider: SandboxProvider,
    cache: Path,
    on_progress: Callable[[str], None],
) -> Recipe:
    """The first inferred recipe with which all tests are collected, or nothing known is missing.

    Raises ImageError, SandboxFailure.
    """
    more: dict[str, None] = {}
    for _ in range(_ROUNDS):
        on_progress(f"{source.repo}: resolving the environment")
        recipe = infer_recipe(source, tree, more)
        with package_tests(recipe, provider, cache, on_progress) as tests:
            missing = _missing(tests) - more.keys()
        if not missing:
            return recipe
        more |= dict.fromkeys(sorted(missing))
    raise ImageError(f"{source.given}: tests still lack something after adding {', '.join(more)}")


def _missing(tests: PackageTests) -> set[str]:
    """The distributions that collecting the tests asks for."""
    text = tests.collect()
    wanted = {name for match in _MISSING.findall(text) for name in match if name}
    wanted |= set(_SETTING.findall(text))
    for arguments in _OPTION.findall(text):
        wanted |= {re.split(r"[=\s]", one)[0] for one in arguments.split()}
    return {
        distribution
        for name in wanted
        for known, distribution in _KNOWN.items()
        if name == known or (known.startswith("--") and name.startswith(f"{known}-"))
    }
