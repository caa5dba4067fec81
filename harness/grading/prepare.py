"""The shell that gets a sandbox ready for the tests."""

import io
import shlex
import tarfile

from harness.grading.eval_script import EvalPlan, installs_work_tree
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

# Whether the installation is what reinstalling the patched work tree would make of it. An editable
# one always is. Of another one, the files that the patch touches are brought up to date, if their
# installed copies were plain copies; what the base commit did not install is not installed now.
_CURRENT = """\
harness_current() {
  local site path installed
  for site in "$(dirname "$(command -v python)")"/../lib/python3*/site-packages; do
    grep -qsE "(^|[^a-z])/testbed" "$site"/{*.pth,*.egg-link,__editable__*} && return 0
    for path; do
      installed=$site/${path#src/}
      if git cat-file -e "$harness_base:$path" 2>/dev/null; then
        [ -e "$installed" ] || continue
        git cat-file blob "$harness_base:$path" | cmp -s - "$installed" || return 1
      elif [ ! -d "${installed%/*}" ]; then
        [ ! -d "$site/$(cut -d/ -f1 <<<"${path#src/}")" ] && continue || return 1
      fi
      if [ -f "$path" ]; then cp -- "$path" "$installed"; else rm -f -- "$installed"; fi || return 1
    done
  done
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
    """Apply the model patch, bring the installation up to date, restore the tests.

    Exits with MODEL_PATCH_FAILED or RESTORE_FAILED, and prints PREPARED at the end. Reinstalling
    costs seconds, so it is done only where it can change something.
    """
    tests = dict.fromkeys((*plan.test_files, *plan.new_test_files, *facts.test_infrastructure))
    touched = shlex.join(facts.paths)
    lines = [
        "set -uo pipefail",
        "cd /testbed || exit 1",
        "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=/testbed",
        f"harness_base={instance.base_commit}",
        _CURRENT,
        _RESTORE,
        f"git apply --whitespace=fix {FOLDER}/model.patch || exit {MODEL_PATCH_FAILED}",
        *(
            f"harness_current {touched} || {line}"
            if installs_work_tree(line) and not facts.needs_install
            else line
            for line in plan.setup
        ),
        *(f"harness_restore {shlex.quote(path)} || exit {RESTORE_FAILED}" for path in tests),
        f"git apply {FOLDER}/test.patch || exit {RESTORE_FAILED}",
        f"echo '{PREPARED}'",
    ]
    return "\n".join(lines) + "\n"


def test_script(plan: EvalPlan) -> str:
    """The test command in a shell with the environment that the evaluation script sets up."""
    state = [f"{line} >/dev/null 2>&1" for line in plan.shell_state]
    return "\n".join(("set -uo pipefail", *state, plan.tests))
