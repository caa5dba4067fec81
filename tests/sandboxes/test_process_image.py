"""The record of a process image."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.sandboxes.base import ImageMissingError
from harness.sandboxes.process import Mount, ProcessImage

DIGEST = "sha256:" + "0" * 64


def _image(*mounts: tuple[str, str]) -> ProcessImage:
    return ProcessImage.model_validate(
        {
            "digest": DIGEST,
            "mounts": [{"source": "x", "target": target, "mode": mode} for target, mode in mounts],
        }
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    image = ProcessImage(
        digest=DIGEST,
        mounts=(Mount(source="env", target="/opt/miniconda3", mode="ro"),),
        env={"PATH": "/opt/miniconda3/bin:/usr/bin"},
    )
    image.save(tmp_path)
    assert ProcessImage.load(tmp_path) == image
    assert [path.name for path in tmp_path.iterdir()] == ["image.json"]


def test_a_folder_that_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageMissingError, match=f"no process image in {tmp_path}"):
        ProcessImage.load(tmp_path)
    (tmp_path / "image.json").write_text(f'{{"digest": "{DIGEST}", "mounts": [], "color": 1}}')
    with pytest.raises(ImageMissingError, match=r"image\.json: color: Extra inputs"):
        ProcessImage.load(tmp_path)


@pytest.mark.parametrize(
    "target",
    ["testbed", "/", "/a/../usr", "/a//b", "/a/", "/usr", "/usr/lib/x", "/bin", "/proc/x", "/dev"],
)
def test_a_target_that_is_not_the_image_s_to_take(target: str) -> None:
    with pytest.raises(ValidationError, match=r"no absolute path|belongs to the system"):
        _image((target, "ro"))


@pytest.mark.parametrize("mode", ["copy", "rw"])
def test_no_mount_point_may_be_the_sandbox_s_to_replace(mode: str) -> None:
    with pytest.raises(ValidationError, match="is inside /testbed, which is writable"):
        _image(("/testbed", mode), ("/testbed/data", "ro"))
    assert len(_image(("/testbed", "ro"), ("/testbed/data", mode)).mounts) == 2
    assert len(_image(("/testbed", mode), ("/testbed2", "ro")).mounts) == 2
