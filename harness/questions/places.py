"""Where answers are judged: programs in process sandboxes, mathematics in none."""

from collections.abc import Sequence
from typing import Literal

from harness.environments.images import Images
from harness.questions.grader import program_image
from harness.records import Instance
from harness.sandboxes import make_provider
from harness.sandboxes.base import Bind, Limits, Sandbox, SandboxFailure, SandboxProvider


class NoSandboxes:
    """Stands where a run expects sandboxes, for runs in which nothing of an answer is executed."""

    kind = "none"

    def digest(self, image: str) -> str:
        """There are no images. Raises SandboxFailure."""
        raise SandboxFailure("answers to mathematical questions are not executed")

    def start(
        self,
        image: str,
        *,
        limits: Limits,
        owner: str,
        network: bool = False,
        binds: Sequence[Bind] = (),
    ) -> Sandbox:
        """There are no sandboxes. Raises SandboxFailure."""
        raise SandboxFailure("answers to mathematical questions are not executed")

    def cleanup(self, owner: str | None = None) -> int:
        """Nothing is left behind."""
        return 0


def place_of(
    kind: Literal["math", "code"], instances: Sequence[Instance]
) -> tuple[SandboxProvider, Images]:
    """What judges the answers of a run. Raises SandboxFailure: programs need bubblewrap."""
    if kind == "math":
        return NoSandboxes(), Images(references={one.instance_id: "" for one in instances})
    folder, digest = program_image()
    return make_provider("process"), Images(
        references={one.instance_id: folder for one in instances},
        digests={one.instance_id: digest for one in instances},
    )
