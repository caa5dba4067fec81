"""Some of a suite's instances."""

import pytest

from harness.suites import SuiteError
from harness.suites.select import select
from tests.conftest import make_instance

ALL = [
    make_instance(instance_id=f"{repo}-{number}", repo=f"owner/{repo}")
    for number in range(5)
    for repo in ("red", "blue")
]


def ids(**how: object) -> list[str]:
    return [one.instance_id for one in select(ALL, **how)]  # type: ignore[arg-type]


def test_the_order_of_the_suite_is_kept() -> None:
    assert ids() == [one.instance_id for one in ALL]
    assert ids(ids=["blue-1", "red-1"]) == ["red-1", "blue-1"]
    assert ids(repos=["owner/blue"], limit=2) == ["blue-0", "blue-1"]
    assert ids(limit=99) == ids()


def test_a_sample_is_seeded_and_in_order() -> None:
    assert ids(limit=4, seed=0) == ids(limit=4, seed=0)
    assert len({tuple(ids(limit=4, seed=seed)) for seed in range(9)}) > 1
    sample = ids(limit=4, seed=3)
    assert sample == [one for one in ids() if one in sample]
    assert len(sample) == 4


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"ids": ["red-11", "zzz"]}, "unknown instance: 'red-11'; did you mean 'red-1'.* 'zzz'"),
        ({"repos": ["owner/rde"]}, "unknown repository: 'owner/rde'; did you mean 'owner/red'"),
        ({"ids": ["red-1"], "repos": ["owner/blue"]}, "no instance has one of these"),
        ({"limit": 0}, "at least 1"),
    ],
)
def test_what_selects_nothing_is_an_error(how: dict[str, object], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        ids(**how)
