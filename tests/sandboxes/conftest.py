"""The fixtures of the sandbox contract, for attacks on every kind."""

from tests.conformance.conftest import kind, run, running, sandbox, seconds, start

__all__ = ["kind", "run", "running", "sandbox", "seconds", "start"]
