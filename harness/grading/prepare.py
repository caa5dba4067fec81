"""The shell that gets a sandbox ready for the tests."""

import io
import shlex
import tarfile

from harness.grading.eval_script import EvalPlan, is_editable_install, is_install
from harness.grading.patches import PatchFacts
from harness.records import Instance

FOLDER = "/tmp/harness"  # noqa: S108  # inside the sandbox
MODEL_PATCH_FAILED = 66
RESTORE_FAILED = 67
PREPARED = "harness: prepared"
# One command for everything: each one costs a tenth of a second in a container.
UNPACK_AND_PREPARE = (
    f"mkdir -p {FOLDER} && tar -xf - -C {FOLDER} && exec bash {FOLDER}/prepare.sh </dev/null"
)

INSTALL_ENVIRONMENT = {
    # No index answers in a sealed sandbox; asking costs a time-out each.
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    # pip reads this switch inverted: 0 builds with what the environment already has.
    "PIP_NO_BUILD_ISOLATION": "0",
}

_EDITABLE_CHECK = """\
harness_editable() {
  local site
  for site in "$(dirname "$(command -v python)")"/../lib/python3*/site-packages; do
    grep -qsE "(^|[^a-z])/testbed" "$site"/{*.pth,*.egg-link,__editable__*} && return 0
  done
  return 1
}
"""

# A patch may have put a link or a file where a folder of the tests belongs.
_RESTORE = """\
harness_restore() {
  local folder=$1
  while [ "$folder" != "${folder%/*}" ]; do
    folder=${folder%/*}
    if [ -L "$folder" ] || [ -f "$folder" ]; then rm -f -- "$folder"; fi
  done
  rm -rf -- "$1"
  if git cat-file -e "$harness_base:$1" 2>/dev/null; then
    git checkout -q "$harness_base" -- "$1"
  fi
}
"""


def pack(files: dict[str, bytes]) -> bytes:
    """Files as a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def prepare_script(instance: Instance, plan: EvalPlan, facts: PatchFacts) -> str:
    """Apply the model patch, restore the tests, bring the installation up to date.

    Exits with MODEL_PATCH_FAILED or RESTORE_FAILED, and prints PREPARED at the end. An editable
    installation that the patch cannot have outdated is not made again.
    """
    kept = [line for line in plan.setup if not is_install(line)]
    installs = [line for line in plan.setup if is_install(line)]
    tests = dict.fromkeys((*plan.test_files, *plan.new_test_files, *facts.test_infrastructure))
    lines = [
        "set -uo pipefail",
        "cd /testbed || exit 1",
        "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=/testbed",
        f"git apply --whitespace=fix {FOLDER}/model.patch || exit {MODEL_PATCH_FAILED}",
        *kept,
        *_install_lines(installs, needed=facts.needs_install),
        f"harness_base={instance.base_commit}",
        _RESTORE,
        *(f"harness_restore {shlex.quote(path)} || exit {RESTORE_FAILED}" for path in tests),
        f"git apply {FOLDER}/test.patch || exit {RESTORE_FAILED}",
        f"echo '{PREPARED}'",
    ]
    return "\n".join(lines) + "\n"


def test_script(plan: EvalPlan) -> str:
    """The test command in a shell with the environment that the evaluation script sets up."""
    state = [f"{line} >/dev/null 2>&1" for line in plan.shell_state]
    return "\n".join(("set -uo pipefail", *state, plan.tests))


def _install_lines(installs: list[str], *, needed: bool) -> list[str]:
    if needed or not installs:
        return installs
    lines = [_EDITABLE_CHECK]
    for line in installs:
        lines.append(f"harness_editable || {line}" if is_editable_install(line) else line)
    return lines
