"""Pin images: read them from outside and write down what they hold."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from harness.environments.base_images import LABEL, layout_digest
from harness.environments.contents import Contents, differing, read_contents
from harness.environments.engine import connect, find_image
from harness.environments.errors import ImageError
from harness.environments.image_files import open_image
from harness.environments.known_recipes import known_recipes
from harness.environments.lock import (
    COMPARED,
    Kind,
    Lock,
    LockRow,
    load_locks,
    package_changes,
    table_hash,
)
from harness.environments.recipe import RecipeError, recipe_for
from harness.records import Instance, Record
from harness.records.cache import cache_root
from harness.suites.manifests import manifests_root

_READER = "1"
_SHOWN = 5
_SYSTEM = ("python", "system_packages")


class LockDifferenceError(ImageError):
    """Images do not hold what their lock says."""


class FieldDifference(Record):
    """A field of a lock row that an image contradicts, and what of it differs, as far as known."""

    field: str
    locked: str
    found: str
    details: tuple[str, ...] = ()


class Difference(Record):
    """What is not as locked about one instance's image."""

    instance_id: str
    image: str
    fields: tuple[FieldDifference, ...]


def pin(instance: Instance, image: str, kind: Kind) -> tuple[LockRow, Contents]:
    """The lock row of an image and the contents it was made from; runs nothing of the image.

    Raises ImageMissingError, or ImageError when it cannot be read.
    """
    contents = _contents(image, kind)
    facts = _docker_facts(image) if kind == "docker" else _process_facts(instance)
    return (
        LockRow.model_validate(
            {
                "instance_id": instance.instance_id,
                "kind": kind,
                "image": image if kind == "docker" else Path(image).name,
                "digest": open_image(image, kind).digest,
                "base_commit": instance.base_commit,
                "python": contents.python,
                "packages": table_hash(contents.packages),
                "system_packages": table_hash(contents.system_packages),
                "tree": contents.tree,
                "git": contents.git,
                "environment": contents.environment,
                **facts,
            }
        ),
        contents,
    )


def compare(
    row: LockRow,
    lock: Lock,
    found: LockRow,
    contents: Contents,
    reference: Contents | None = None,
) -> Difference | None:
    """What of a lock row does not hold for an image, field by field; None when all does.

    `reference` is what an image that is as locked holds: with it, differing files have names.
    """
    fields = []
    for name in COMPARED:
        before, after = str(getattr(row, name)), str(getattr(found, name))
        if before == after:
            continue
        details: list[str] = []
        if name in ("packages", "system_packages"):
            details = package_changes(lock.tables[before], getattr(contents, name))
        elif reference is not None and name in ("tree", "git", "environment"):
            files = f"{name}_files"
            details = differing(getattr(reference, files), getattr(contents, files))
        fields.append(
            FieldDifference(field=name, locked=before, found=after, details=tuple(details))
        )
    if not fields:
        return None
    return Difference(instance_id=row.instance_id, image=found.image, fields=tuple(fields))


def check_against_lock(
    instances: Sequence[Instance],
    images: Mapping[str, str],
    kind: Kind,
    *,
    lock: Lock | None = None,
    allowed: bool = False,
    on_progress: Callable[[str], None],
) -> list[Difference]:
    """Compare the images of a run, given by instance id, with the shipped locks (or `lock`).

    An image with the locked digest is taken for the locked one; others (built on another machine,
    or of process sandboxes) are read, which is remembered by content. Instances without a row are
    passed over. Another state of the operating system's release is said and not refused: nobody
    can bring it back. Raises LockDifferenceError for other differences unless `allowed`; returns
    what differs.
    """
    lock = lock or load_locks(manifests_root() / "locks", kind)
    found = []
    for instance in instances:
        row, image = lock.rows.get(instance.instance_id), images.get(instance.instance_id)
        if row is None or image is None:
            continue
        if kind == "docker" and open_image(image, kind).digest == row.digest:
            continue
        difference = compare(row, lock, *pin(instance, image, kind))
        if difference is not None:
            found.append(difference)
            on_progress(f"not as locked: {describe(difference)}")
    bad = [each for each in found if any(field.field not in _SYSTEM for field in each.fields)]
    if bad and not allowed:
        raise LockDifferenceError(
            f"{len(bad)} images do not hold what their lock says:\n"
            + "\n".join(f"  {describe(each)}" for each in bad[:_SHOWN])
            + "\nSee more with: harness env verify --no-rebuild. Build them again (harness env "
            "build --force), pin them anew, or use --allow-unlocked."
        )
    return found


def describe(difference: Difference) -> str:
    """A difference in one line."""
    return f"{difference.instance_id}: " + ", ".join(
        field.field + (f" ({field.details[0]}, …)" if field.details else "")
        for field in difference.fields
    )


def _contents(image: str, kind: Kind) -> Contents:
    """What an image holds, remembered by content."""
    files = open_image(image, kind)
    key = hashlib.sha256(json.dumps([_READER, files.fingerprint()]).encode()).hexdigest()
    path = cache_root() / "contents" / key[:2] / f"{key}.json"
    if path.is_file():
        try:
            return Contents.model_validate_json(path.read_bytes())
        except ValidationError:
            path.unlink()
    contents = read_contents(files, umask=kind == "process")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{id(contents)}")
    temporary.write_text(contents.model_dump_json(), encoding="utf-8")
    temporary.replace(path)
    return contents


def _docker_facts(image: str) -> dict[str, str]:
    found = find_image(connect(), image)
    if found is None:
        raise ImageError(f"the Docker engine has no image {image}")
    labels = found.labels
    digests = sorted(found.attrs.get("RepoDigests") or ())
    return {
        "registry_digest": digests[0] if digests else "",
        "base_digest": labels.get(f"{LABEL}base", ""),
        "base_release": labels.get(f"{LABEL}debian.release-file", ""),
        "recipe": labels.get(f"{LABEL}recipe", ""),
        "layout": labels.get(f"{LABEL}base.layout", ""),
    }


def _process_facts(instance: Instance) -> dict[str, str]:
    try:
        recipe = recipe_for(instance, known_recipes()).digest
    except RecipeError:
        recipe = ""
    return {"recipe": recipe, "layout": layout_digest()}
