"""Where jedi looks for compiled modules: in Python itself, not in what this process imported."""

import sys
from typing import Any

from jedi.api.environment import InterpreterEnvironment  # type: ignore[import-untyped]
from jedi.inference.compiled.subprocess import (  # type: ignore[import-untyped]
    InferenceStateSameProcess,
)


class _StandardLibrary(InferenceStateSameProcess):  # type: ignore[misc]
    def load_module(self, dotted_name: str, sys_path: list[str]) -> Any:
        """Import a module that has no source; of others than Python's own, nothing is known."""
        if dotted_name.partition(".")[0] not in sys.stdlib_module_names:
            return None
        return self.__getattr__("load_module")(dotted_name=dotted_name, sys_path=sys_path)


class Environment(InterpreterEnvironment):  # type: ignore[misc]
    """This interpreter. Answers do not depend on its installed or imported packages."""

    def get_inference_state_subprocess(self, inference_state: Any) -> _StandardLibrary:
        """The access to compiled modules."""
        return _StandardLibrary(inference_state)
