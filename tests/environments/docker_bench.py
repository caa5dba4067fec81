"""An upstream repository, and the engine that its images are built on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.client import DockerClient

from harness.environments.docker_images import BuildResult, build_images
from harness.environments.recipe import Recipe
from harness.records import Instance
from harness.records.cache import cache_root
from tests.conftest import make_instance
from tests.environments.upstream import Upstream

EVAL_SCRIPT = """\
#!/bin/bash
set -uxo pipefail
source /opt/miniconda3/bin/activate
conda activate testbed
cd /testbed
git config --global --add safe.directory /testbed
git status
git show
git -c core.fileMode=false diff {base}
source /opt/miniconda3/bin/activate
conda activate testbed
python -m pip install -e .
git checkout {base} pkg.py
: '>>>>> Start Test Output'
cd / && python -c 'import pkg, sys; print(pkg.ANSWER, sys.prefix, sys.version_info[:2])'
"""


@dataclass
class Bench:
    """An upstream repository of a name nobody else has, and what was built of it."""

    client: DockerClient
    upstream: Upstream
    repo: str
    repos: Path
    built: BuildResult

    def instance(self, **changes: Any) -> Instance:
        row = {
            "repo": self.repo,
            "base_commit": self.upstream.base,
            "image": f"{self.repo}:1",
            "eval_script": EVAL_SCRIPT.format(base=self.upstream.base),
        }
        return make_instance(**{**row, **changes})

    def recipe(self, **changes: Any) -> Recipe:
        return Recipe.model_validate(
            {"repo": self.repo, "version": "1.0", "python": "3.11"} | changes
        )

    def build(
        self,
        *instances: Instance,
        recipe: Recipe | None = None,
        cache: Path | None = None,
        force: bool = False,
    ) -> list[BuildResult]:
        recipe = recipe or self.recipe()
        return build_images(
            instances or [self.instance()],
            recipes={(recipe.repo, recipe.version): recipe},
            repos=self.repos,
            cache=cache or cache_root(),
            force=force,
            on_progress=print,
        )

    def run(self, script: str, *, tag: str = "1") -> str:
        output = self.client.containers.run(
            f"{self.repo}:{tag}",
            ["bash", "-c", script],
            network_mode="none",
            remove=True,
            stderr=True,
        )
        return bytes(output).decode()
