"""All that this project keeps on disk to run instances in: of Docker, and below the cache."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.environments.base_images import LABEL, OWN_NAMES
from harness.environments.engine import all_images, connect
from harness.environments.errors import ImageError
from harness.environments.prune import Item
from harness.environments.usage import in_use, last_used
from harness.records.cache import cache_root
from harness.sandboxes.base import ImageMissingError
from harness.sandboxes.process_image import ProcessImage

if TYPE_CHECKING:
    from docker.client import DockerClient
    from docker.models.images import Image

_UPSTREAM = "swebench/sweb.eval."


def docker_items() -> tuple[list[Item], list[str]]:
    """This project's images and volumes, and the layers that other images keep.

    A layer's bytes are those of the image's history. Raises ImageError when no engine answers.
    """
    from docker.errors import ImageNotFound

    client = connect()
    layers: dict[str, dict[str, int]] = {}
    own: list[Image] = []
    foreign: list[str] = []
    used_images = {
        each.attrs["Image"] for each in client.containers.list(all=True, ignore_removed=True)
    }
    living = in_use()
    for image in all_images(client):
        identity = str(image.id)
        with suppress(ImageNotFound):
            layers[identity] = _layers(image.attrs["RootFS"].get("Layers") or [], image.history())
        if identity not in layers:
            continue
        if not _is_own(image.tags, image.labels):
            foreign += layers[identity]
            continue
        own.append(image)
    items = []
    for image in own:
        identity = str(image.id)
        names = [*image.tags, identity]
        items.append(
            Item(
                id=identity,
                kind="image",
                name=image.tags[0] if image.tags else identity[:19],
                last_used=max([_created(image.attrs["Created"]), *map(last_used, names)]),
                in_use=identity in used_images or not living.isdisjoint(names),
                remove=partial(_remove_image, client, image.tags or [identity]),
                parts=layers[identity],
                needs=frozenset(
                    str(other.id)
                    for other in own
                    if layers[str(other.id)].keys() < layers[identity].keys()
                ),
            )
        )
    return items + _volumes(client, living), foreign


def process_items(cache: Path | None = None) -> list[Item]:
    """Process images with the environments they share, and archives that builds start from."""
    root = cache or cache_root()
    living = in_use()
    items, needed = [], {}
    for folder in _folders(root / "images"):
        try:
            image = ProcessImage.load(folder)
        except ImageMissingError:
            continue
        shared = [(folder / mount.source).resolve() for mount in image.mounts]
        needs = frozenset(str(path) for path in shared if path.parent == root / "environments")
        items.append(_folder_item(folder, living, needs))
        if items[-1].in_use:
            needed.update(dict.fromkeys(needs, True))
    for folder in _folders(root / "environments"):
        item = _folder_item(folder, living | ({str(folder)} if needed.get(str(folder)) else set()))
        items.append(item)
    for pattern in ("debian/*.tar.gz", "sdists/*.tar.gz"):
        for path in sorted(root.glob(pattern)):
            facts = path.stat()
            items.append(
                Item(
                    id=str(path),
                    kind="archive",
                    name=path.name,
                    last_used=max(facts.st_mtime, facts.st_atime, last_used(str(path))),
                    in_use=False,
                    remove=path.unlink,
                    parts={str(path): facts.st_size},
                )
            )
    return items


def _is_own(tags: Sequence[str], labels: dict[str, str]) -> bool:
    return any(tag.startswith((OWN_NAMES, _UPSTREAM)) for tag in tags) or any(
        label.startswith((f"{LABEL}instance", f"{LABEL}recipe", f"{LABEL}toolchain"))
        for label in labels
    )


def _layers(digests: Sequence[str], history: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Bytes by layer, a layer being named by itself and all below it, as the engine stores it."""
    sizes = [int(step["Size"]) for step in reversed(history)]
    if len(sizes) != len(digests):
        sizes = [size for size in sizes if size]
    sizes += [0] * (len(digests) - len(sizes))
    found, chain = {}, ""
    for digest, size in zip(digests, sizes, strict=False):
        chain += digest.removeprefix("sha256:")[:16]
        found[chain] = size
    return found


def _created(text: str) -> float:
    return datetime.fromisoformat(text[:19] + "+00:00").timestamp()


def _remove_image(client: "DockerClient", names: Sequence[str]) -> None:
    from docker.errors import APIError, ImageNotFound

    for name in names:
        try:
            client.images.remove(name)
        except ImageNotFound:
            continue
        except APIError as error:
            raise ImageError(f"{name} stays: {error.explanation}") from None


def _volumes(client: "DockerClient", living: frozenset[str]) -> list[Item]:
    items = []
    for volume in client.df().get("Volumes") or ():
        if not any(label.startswith(f"{LABEL}toolchain") for label in volume["Labels"] or ()):
            continue
        name, usage = volume["Name"], volume.get("UsageData") or {}
        items.append(
            Item(
                id=f"volume {name}",
                kind="volume",
                name=name,
                last_used=max(_created(volume["CreatedAt"]), last_used(name)),
                in_use=usage.get("RefCount", 0) > 0 or name in living,
                remove=partial(_remove_volume, client, name),
                parts={f"volume {name}": max(0, usage.get("Size", 0))},
            )
        )
    return items


def _remove_volume(client: "DockerClient", name: str) -> None:
    from docker.errors import APIError

    try:
        client.volumes.get(name).remove()
    except APIError as error:
        raise ImageError(f"{name} stays: {error.explanation}") from None


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    real = parent.resolve()
    return sorted(path for path in real.iterdir() if path.is_dir() and path.name[0] != ".")


def _folder_item(
    folder: Path, living: frozenset[str] | set[str], needs: frozenset[str] = frozenset()
) -> Item:
    return Item(
        id=str(folder),
        kind="folder",
        name=f"{folder.parent.name}/{folder.name}",
        last_used=max(folder.stat().st_mtime, last_used(str(folder))),
        in_use=str(folder) in living,
        remove=partial(shutil.rmtree, folder),
        parts=_disk(folder),
        needs=needs,
    )


def _disk(folder: Path) -> dict[str, int]:
    """Bytes on disk, a file with several names once."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            facts = os.lstat(os.path.join(place, name))  # noqa: PTH118
            found[f"{facts.st_dev}:{facts.st_ino}"] = facts.st_blocks * 512
    return found
