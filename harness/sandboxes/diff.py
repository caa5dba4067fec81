"""The work tree's changes as a patch, whatever the agent did to its repository.

The repository lends its objects and nothing else: the comparison runs in a throw-away git
directory, so no configuration, hook, filter, driver, index flag or reference of the repository is
read. Line-ending attributes keep their meaning: without them git would call files changed that
nobody touched.
"""

import re
from collections.abc import Callable

from harness.sandboxes.base import MIB, WORKDIR, ExecResult

DIFF_BYTES = 64 * MIB
_AS_IT_IS = "!diff"
_AS_BINARY = "-diff"

_SCRIPT = rf"""
set -e
commit=$1^{{commit}} attribute=$2
unset ${{!GIT_@}}
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
export HOME=$temporary XDG_CONFIG_HOME=$temporary GIT_CONFIG_NOSYSTEM=1
export GIT_DIR=$temporary/git
git init --quiet --bare --template= "$GIT_DIR"
cat >>"$GIT_DIR/config" <<'END'
[core]
  bare = false
  commitGraph = false
  looseCompression = 0
  excludesFile = {WORKDIR}/.git/info/exclude
END
mkdir -p "$GIT_DIR/info"
echo {WORKDIR}/.git/objects >"$GIT_DIR/objects/info/alternates"
echo "* !filter $attribute" >"$GIT_DIR/info/attributes"
cat >"$GIT_DIR/info/exclude" <<'END'
__pycache__/
*.py[co]
.pytest_cache/
.mypy_cache/
.ruff_cache/
.hypothesis/
.tox/
.eggs/
*.egg-info/
.coverage
/build/
/dist/
END
cd {WORKDIR}
export GIT_WORK_TREE=$PWD
git read-tree "$commit"
# 1: some files cannot be added, such as a nested repository; the patch is made of the others.
git add --all --ignore-errors . >"$temporary/log" 2>&1 || [ $? = 1 ] || {{
  cat "$temporary/log"
  exit 1
}}
# A rename is shown as its two files, so that every path that a patch touches is in a header.
git diff --cached --binary --full-index --no-renames --no-color --no-ext-diff --no-textconv \
  --ignore-submodules=all "$commit" 2>/dev/null
"""


def take_diff(run: Callable[[list[str]], ExecResult], base_commit: str) -> str:
    """The changes of `/testbed` against a commit; `run` executes a bash script and its
    arguments in the sandbox.

    A text file that is not UTF-8 comes as a binary patch. Raises ValueError when there is no
    patch: the repository is unreadable, or its changes are over `DIFF_BYTES`.
    """
    if not re.fullmatch(r"[0-9a-f]{7,64}", base_commit):
        raise ValueError(f"{base_commit!r} is no commit id")

    def patch(attribute: str) -> bytes:
        result = run([_SCRIPT, "diff", base_commit, attribute])
        if result.timed_out:
            raise ValueError(f"{WORKDIR}: no patch after {result.seconds:.0f} s")
        if result.exit_code != 0:
            raise ValueError(
                f"{WORKDIR}: git cannot compare it with {base_commit}: {result.text[-500:].strip()}"
            )
        if result.truncated:
            raise ValueError(f"{WORKDIR}: the patch has {result.output_bytes:,} bytes")
        return result.output

    as_it_is = patch(_AS_IT_IS)
    if _text(as_it_is) is not None:
        return as_it_is.decode()
    pairs = zip(_files(as_it_is), _files(patch(_AS_BINARY)), strict=True)
    return "".join(_text(file) or binary.decode() for file, binary in pairs)


def _files(patch: bytes) -> list[bytes]:
    return re.split(rb"(?m)^(?=diff --git )", patch)


def _text(patch: bytes) -> str | None:
    try:
        return patch.decode()
    except UnicodeDecodeError:
        return None
