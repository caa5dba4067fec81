"""A repository's Python files on disk, for resolvers that read files themselves."""

import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import TracebackType

SUFFIXES = (".py", ".pyi")


class Workspace:
    """The Python files of a snapshot in a private folder, written at the first use of `root`.

    Nothing else is written, so a compiled extension of the repository is never loaded.
    """

    def __init__(self, texts: Mapping[str, str], import_roots: Sequence[str]) -> None:
        """Texts by path (decoded, loaded when looked up); import roots as `.`, `src`."""
        self._texts = texts
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.import_roots = tuple(import_roots)

    @cached_property
    def root(self) -> Path:
        """The folder, without symbolic links in its own path."""
        self._folder = tempfile.TemporaryDirectory(prefix="call-graph-")
        root = Path(self._folder.name).resolve()
        for path in self._texts:
            if PurePosixPath(path).suffix in SUFFIXES:
                file = root / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(self._texts[path], encoding="utf-8", newline="")
        return root

    @property
    def search_path(self) -> list[Path]:
        """The import roots on disk, in order."""
        return [(self.root / one).resolve() for one in self.import_roots]

    def relative(self, file: Path | str | None) -> str | None:
        """A file's path in the repository; None for one outside."""
        if file is None:
            return None
        try:
            path = Path(file).resolve().relative_to(self.root).as_posix()
        except ValueError:
            return None
        return path if path in self._texts else None

    def close(self) -> None:
        """Remove the folder."""
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
