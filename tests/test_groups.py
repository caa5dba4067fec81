"""Tests of one engine must not run side by side."""

import os

import pytest


@pytest.mark.xdist_group("docker")
def test_groups_reach_the_scheduler(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("one process runs everything")
    assert request.node.nodeid.endswith("@docker"), "pytest-xdist does not see groups"
