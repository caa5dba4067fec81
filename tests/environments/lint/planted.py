"""An image's files with a base commit, and the places where a later one can hide."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.environments.lint.findings import Rule
from harness.environments.repository import snapshot
from harness.records import Instance
from tests.conftest import make_instance
from tests.environments.upstream import SECRET, Upstream, git, make_upstream

FIXED = f"ANSWER = 42  # {SECRET}\n"
PATCH = f"--- a/pkg.py\n+++ b/pkg.py\n@@ -1 +1 @@\n-ANSWER = 41\n+{FIXED}"
TEST_PATCH = """\
--- /dev/null
+++ b/test_pkg.py
@@ -0,0 +1,5 @@
+import pkg
+
+
+def test_the_answer_is_the_right_one():
+    assert pkg.ANSWER == 42, "not the answer"
"""
SITE = "opt/miniconda3/envs/testbed/lib/python3.11/site-packages"


@dataclass
class Planted:
    """The root of an image's files, and the upstream repository its history was taken from."""

    root: Path
    upstream: Upstream

    @property
    def testbed(self) -> Path:
        return self.root / "testbed"

    @property
    def instance(self) -> Instance:
        return make_instance(
            base_commit=self.upstream.base, patch=PATCH, test_patch=TEST_PATCH, version="1.0"
        )

    def git(self, *arguments: str) -> str:
        return git(self.testbed, *arguments)

    def fetch(self, *options: str) -> None:
        """Have the objects of the fix, and nothing that names them."""
        self.git(*options, "fetch", "-q", "--no-tags", str(self.upstream.path), "new")
        (self.testbed / ".git" / "FETCH_HEAD").unlink()

    def write(self, place: str, data: bytes | str) -> None:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)


def clean(folder: Path) -> Planted:
    """Nothing to be found: a snapshot, checked out, and an editable install."""
    planted = Planted(folder / "root", make_upstream(folder / "upstream"))
    snapshot(planted.upstream.path, planted.upstream.base, planted.testbed)
    planted.git("-c", "core.logAllRefUpdates=false", "checkout", "-q", "-f")
    planted.write(f"{SITE}/pkg.pth", "/testbed\n")
    planted.write(f"{SITE}/pkg-1.dist-info/METADATA", "Name: pkg\nVersion: 1\n")
    planted.write(f"{SITE}/other/__init__.py", "ANSWER = 42\n")
    return planted


def branch(at: Planted) -> None:
    at.fetch()
    at.git("branch", "later", at.upstream.fix)


def packed_ref(at: Planted) -> None:
    branch(at)
    at.git("pack-refs", "--all")


def tag(at: Planted) -> None:
    at.fetch()
    at.git("tag", "-a", "v9", "-m", "next", at.upstream.fix)


def remote_branch(at: Planted) -> None:
    at.git("remote", "add", "origin", str(at.upstream.path))
    at.git("fetch", "-q", "--no-tags", "--no-write-fetch-head", "origin")


def reflog(at: Planted) -> None:
    at.fetch()
    at.git("update-ref", "--create-reflog", "refs/heads/main", at.upstream.fix)
    at.git("update-ref", "refs/heads/main", at.upstream.base)


def stash(at: Planted) -> None:
    at.write("testbed/pkg.py", FIXED)
    at.git("stash", "-q")


def replace_ref(at: Planted) -> None:
    at.fetch()
    at.git("replace", at.upstream.base, at.upstream.fix)


def loose_object(at: Planted) -> None:
    at.fetch("-c", "fetch.unpackLimit=1000")


def packed_object(at: Planted) -> None:
    at.fetch("-c", "fetch.unpackLimit=1")


def pack_without_index(at: Planted) -> None:
    packs = at.testbed / ".git" / "objects" / "pack"
    before = set(packs.iterdir())
    packed_object(at)
    for path in set(packs.iterdir()) - before:
        path.rename(packs / "tmp_pack_1234") if path.suffix == ".pack" else path.unlink()


def pack_with_a_false_index(at: Planted) -> None:
    packs = at.testbed / ".git" / "objects" / "pack"
    honest = next(packs.glob("*.idx"))
    packed_object(at)
    for path in set(packs.glob("*.idx")) - {honest}:
        path.chmod(0o644)
        path.write_bytes(honest.read_bytes())


def borrowed_objects(at: Planted) -> None:
    git(at.root, "clone", "-q", "--bare", str(at.upstream.path), str(at.root / "srv/pkg.git"))
    at.write("testbed/.git/objects/info/alternates", "/srv/pkg.git/objects\n")


def fetch_head(at: Planted) -> None:
    at.git("fetch", "-q", "--no-tags", str(at.upstream.path), "new")


def other_work_tree(at: Planted) -> None:
    at.fetch()
    at.git("worktree", "add", "-q", "--detach", str(at.root / "opt/tree"), at.upstream.fix)


def bundle(at: Planted) -> None:
    (at.root / "tmp").mkdir()
    target = str(at.root / "tmp/x.bin")
    git(at.upstream.path, "bundle", "create", "-q", target, f"{at.upstream.base}..new")


def second_clone(at: Planted) -> None:
    git(at.root, "clone", "-q", str(at.upstream.path), str(at.root / "root/.cache/pkg"))


def clone_that_shares_files(at: Planted) -> None:
    target = str(at.root / "aaa/pkg")
    git(at.root, "clone", "-q", "--local", str(at.testbed), target)
    git(at.root / "aaa/pkg", "fetch", "-q", str(at.upstream.path), "new")
    inode = {path.stat().st_ino for path in (at.testbed / ".git").rglob("*.pack")}
    assert inode & {path.stat().st_ino for path in (at.root / "aaa").rglob("*.pack")}


def shallow_clone(at: Planted) -> None:
    target = str(at.root / "home/pkg")
    git(at.root, "clone", "-q", "--depth=1", f"file://{at.upstream.path}", target)
    (at.root / "home/pkg/pkg.py").unlink()


def stray_loose_object(at: Planted) -> None:
    blob = git(at.upstream.path, "rev-parse", "new:pkg.py")
    data = (at.upstream.path / ".git/objects" / blob[:2] / blob[2:]).read_bytes()
    at.write("var/lib/cache.bin", data)


def installed_copy(at: Planted) -> None:
    at.write(f"{SITE}/pkg.py", FIXED)


def installed_copy_of_another_version(at: Planted) -> None:
    at.write("usr/lib/python3/dist-packages/pkg.py", "ANSWER = 43\n")


def wheel_in_a_cache(at: Planted) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pkg.py", FIXED)
    at.write("root/.cache/pip/http-v2/a/b/abcdef.body", buffer.getvalue())


def source_distribution(at: Planted) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("pkg-2/pkg.py")
        member.size = len(FIXED)
        archive.addfile(member, io.BytesIO(FIXED.encode()))
    at.write("opt/miniconda3/pkgs/pkg-2.tar.gz", buffer.getvalue())


def the_gold_patch(at: Planted) -> None:
    at.write("root/notes.txt", "see\n" + PATCH)


def the_gold_patch_compressed(at: Planted) -> None:
    at.write("usr/share/doc/pkg/changes.gz", gzip.compress(PATCH.encode()))


def the_new_tests(at: Planted) -> None:
    at.write("tmp/run.sh", "cat <<E\n" + TEST_PATCH + "E\n")


def fixed_work_tree(at: Planted) -> None:
    at.write("testbed/pkg.py", FIXED)


def moved_head(at: Planted) -> None:
    at.fetch()
    at.git("reset", "-q", "--hard", at.upstream.fix)


def forged_object(at: Planted) -> None:
    blob = git(at.upstream.path, "rev-parse", "new:pkg.py")
    data = (at.upstream.path / ".git/objects" / blob[:2] / blob[2:]).read_bytes()
    known = at.git("rev-parse", "HEAD:pkg.py")
    at.write(f"testbed/.git/objects/{known[:2]}/{known[2:]}", data)


def git_folder_elsewhere(at: Planted) -> None:
    (at.testbed / ".git").rename(at.root / "git")
    at.write("testbed/.git", "gitdir: /git\n")


PLACES: tuple[tuple[Callable[[Planted], None], Rule], ...] = (
    (branch, Rule.GIT_REF),
    (packed_ref, Rule.GIT_REF),
    (tag, Rule.GIT_REF),
    (remote_branch, Rule.GIT_REF),
    (remote_branch, Rule.GIT_REMOTE),
    (reflog, Rule.GIT_REFLOG),
    (stash, Rule.GIT_REF),
    (replace_ref, Rule.GIT_REF),
    (loose_object, Rule.GIT_OBJECT),
    (packed_object, Rule.GIT_OBJECT),
    (pack_without_index, Rule.GIT_OBJECT),
    (pack_with_a_false_index, Rule.GIT_OBJECT),
    (borrowed_objects, Rule.GIT_STATE),
    (borrowed_objects, Rule.GIT_ELSEWHERE),
    (fetch_head, Rule.GIT_STATE),
    (other_work_tree, Rule.GIT_STATE),
    (bundle, Rule.GIT_ELSEWHERE),
    (second_clone, Rule.GIT_ELSEWHERE),
    (clone_that_shares_files, Rule.GIT_ELSEWHERE),
    (shallow_clone, Rule.GIT_ELSEWHERE),
    (stray_loose_object, Rule.GIT_ELSEWHERE),
    (installed_copy, Rule.OTHER_COPY),
    (installed_copy, Rule.GOLD_LINES),
    (installed_copy_of_another_version, Rule.OTHER_COPY),
    (wheel_in_a_cache, Rule.OTHER_COPY),
    (source_distribution, Rule.OTHER_COPY),
    (the_gold_patch, Rule.GOLD_LINES),
    (the_gold_patch_compressed, Rule.GOLD_LINES),
    (the_new_tests, Rule.TEST_LINES),
    (fixed_work_tree, Rule.WORK_TREE),
    (fixed_work_tree, Rule.GOLD_LINES),
    (moved_head, Rule.GIT_HEAD),
    (forged_object, Rule.GIT_UNREADABLE),
    (git_folder_elsewhere, Rule.GIT_UNREADABLE),
)
