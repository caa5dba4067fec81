"""The resolver `pylsp`: python-lsp-server in a process of its own."""

import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pi_extractors.call_graph.lsp_session import LspLimits, LspResolver

_PLUGINS = (
    "autopep8",
    "flake8",
    "folding",
    "jedi_completion",
    "jedi_highlight",
    "jedi_hover",
    "jedi_references",
    "jedi_rename",
    "jedi_signature_help",
    "jedi_symbols",
    "mccabe",
    "preload",
    "pycodestyle",
    "pydocstyle",
    "pyflakes",
    "pylint",
    "rope_autoimport",
    "rope_completion",
    "yapf",
)


def pylsp(limits: LspLimits = LspLimits()) -> LspResolver:  # noqa: B008  # frozen
    """python-lsp-server, which asks jedi; about 36 minutes for all of Django, so ask it little.

    It counts columns in code points, whatever the protocol says (1.15.0).
    """
    return LspResolver(
        name="pylsp",
        version=f"1 ({version('python-lsp-server')}, jedi {version('jedi')})",
        # Isolated: neither the environment nor the current folder names modules to load.
        command=(sys.executable, "-I", "-m", "pylsp"),
        options=_options,
        encoding="utf-32",
        limits=limits,
    )


def _options(import_roots: Sequence[Path]) -> Mapping[str, Any]:
    plugins: dict[str, Any] = {name: {"enabled": False} for name in _PLUGINS}
    plugins["jedi"] = {
        "extra_paths": [str(root) for root in import_roots],
        "prioritize_extra_paths": True,
        # Those would be imported, that is run, wherever the repository has one of that name.
        "auto_import_modules": [],
    }
    return {"pylsp": {"plugins": plugins}}
