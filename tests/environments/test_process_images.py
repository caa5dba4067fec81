import io
import stat
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.environments.errors import ImageError
from harness.environments.process_images import build_environment, build_process_image
from harness.environments.virtual_env import make_virtual_env
from harness.sandboxes.base import ExecResult, Limits
from harness.sandboxes.process import ProcessImage, ProcessProvider
from tests.environments import fake_sdist as fake

Shell = Callable[[str], ExecResult]
ACTIVATE = "set -eu; source /opt/miniconda3/bin/activate; conda activate testbed; "


def must_not_build(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one image in it."""
    cache = tmp_path_factory.mktemp("cache")
    recipe = fake.put_in_cache(cache)
    build_process_image(fake.instance(), recipe, cache, lambda text: None)
    return cache


@pytest.fixture
def shell(cache: Path, tmp_path: Path) -> Shell:
    """Runs a command in a fresh sandbox of the image."""
    image = build_process_image(fake.instance(), fake.put_in_cache(cache), cache, must_not_build)
    provider = ProcessProvider(tmp_path / "sandboxes")

    def shell(command: str) -> ExecResult:
        with provider.start(str(image), limits=Limits(), owner="test") as sandbox:
            return sandbox.exec(command, timeout=60)

    return shell


@pytest.mark.parametrize("activate", ["", ACTIVATE])
def test_the_environment_is_selected_and_has_the_package(shell: Shell, activate: str) -> None:
    result = shell(
        activate + "cd /; command -v python; python -c 'import pkg, sys; "
        "print(sys.prefix); print(pkg.__file__); print(pkg.answer())'"
    )
    assert result.text.split() == [
        "/opt/miniconda3/envs/testbed/bin/python",
        "/opt/miniconda3/envs/testbed",
        "/testbed/pkg.py",
        "41",
    ]


def test_the_work_tree_is_at_the_base_commit_and_private(shell: Shell) -> None:
    result = shell("git rev-parse HEAD; git status --porcelain; rm pkg.py")
    assert result.text.split() == [fake.BASE_COMMIT]
    assert shell("cat pkg.py").exit_code == 0


def test_the_shared_environment_cannot_be_changed(shell: Shell) -> None:
    assert shell("touch /opt/miniconda3/envs/testbed/new").exit_code != 0


def test_instances_of_a_recipe_share_their_environment(cache: Path) -> None:
    other = fake.instance(instance_id="owner__pkg-2")
    first, second = (
        build_process_image(one, fake.put_in_cache(cache), cache, must_not_build)
        for one in (fake.instance(), other)
    )
    assert first != second
    images = [ProcessImage.load(folder) for folder in (first, second)]
    assert images[0].digest != images[1].digest
    assert images[0].mounts[0].source == images[1].mounts[0].source


def test_two_builders_at_once_get_the_same_image(tmp_path: Path) -> None:
    recipe = fake.put_in_cache(tmp_path)
    said: list[str] = []

    def build(number: int) -> Path:
        return build_process_image(fake.instance(), recipe, tmp_path, said.append)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(build, range(4)))) == 1
    assert len(said) == 1
    left = [path for kind in ("environments", "images") for path in (tmp_path / kind).iterdir()]
    assert not [path for path in left if path.name.startswith(".")]


@pytest.mark.parametrize(
    "changes", [{"python": "3.9"}, {"apt": ("libfoo",)}, {"sdist": None}], ids=str
)
def test_what_only_docker_can_do_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match="needs Docker"):
        build_environment(fake.put_in_cache(tmp_path, **changes), tmp_path, must_not_build)


def test_a_failing_install_leaves_nothing(tmp_path: Path) -> None:
    recipe = fake.put_in_cache(tmp_path, install="echo cannot do it; exit 3")
    with pytest.raises(ImageError, match=r"exit 3\):\ncannot do it"):
        build_environment(recipe, tmp_path, lambda text: None)
    assert [path.suffix for path in (tmp_path / "environments").iterdir()] == [".lock"]


def test_the_install_has_no_network(tmp_path: Path) -> None:
    script = 'import socket; socket.create_connection(("192.0.2.1", 80), 5)'
    recipe = fake.put_in_cache(tmp_path, install=f"python -c '{script}'")
    with pytest.raises(ImageError, match="Network is unreachable"):
        build_environment(recipe, tmp_path, lambda text: None)


def wheel(folder: Path) -> Path:
    path = folder / "tool-1.0-py3-none-any.whl"
    info = "tool-1.0.dist-info"
    files = {
        "tool.py": "def main():\n    print('hello')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ntool = tool:main\n",
    }
    record = "".join(f"{name},,\n" for name in files) + f"{info}/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    path.write_bytes(buffer.getvalue())
    return path


def test_scripts_name_the_path_of_use(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    make_virtual_env(folder, [str(wheel(tmp_path))], at="/used/there")
    script = folder / "bin" / "tool"
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text().startswith("#!/used/there/bin/python")
    compiled = next(folder.rglob("tool.*.pyc")).read_bytes()
    assert b"/used/there/lib/" in compiled
    assert str(tmp_path).encode() not in compiled
    for path in (folder / "pyvenv.cfg", *(folder / "bin").iterdir()):
        assert str(folder) not in path.read_text(errors="replace") or path.is_symlink()


def test_requirements_that_cannot_be_had_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"(?s)cannot install the requirements: .*missing"):
        make_virtual_env(tmp_path / "env", [str(tmp_path / "missing-1-py3-none-any.whl")], at="/a")
