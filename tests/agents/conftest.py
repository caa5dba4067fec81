"""Fixtures of the agents' tests."""

import pytest

from tests.agents.repository import Repository, make_repository


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A small repository in sandboxes."""
    return make_repository(tmp_path_factory.mktemp("repository"))
