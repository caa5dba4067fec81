"""Whose PI an instance gets as a control."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.datagen.exchange import ExchangeError, exchanged, partners
from pi_extractors.records import PIRecord, Provenance, SourceName, Tier

REPOSITORIES = st.dictionaries(
    st.text("abc0", min_size=1, max_size=5), st.sampled_from("xyz"), min_size=2, max_size=30
)


def record(instance: str, source: SourceName = SourceName.GOLD_PATCH) -> PIRecord:
    return PIRecord(
        instance_id=instance,
        source=source,
        tier=Tier.ORACLE,
        step=None,
        text=f"of {instance}",
        tokens=2,
        tokenizer="estimate/1",
        budget=9,
        truncated=False,
        provenance=Provenance(extractor="gold_patch/1"),
    )


@given(REPOSITORIES, st.integers(0, 5))
def test_everybody_gets_the_pi_of_somebody_else(repositories: dict[str, str], seed: int) -> None:
    found = partners(repositories, seed, "instances")
    assert found.keys() == repositories.keys() == set(found.values())
    assert all(one != other for one, other in found.items())
    assert found == partners(dict(reversed(repositories.items())), seed, "instances")


@given(REPOSITORIES, st.integers(0, 5))
def test_everybody_gets_the_pi_of_another_repository(
    repositories: dict[str, str], seed: int
) -> None:
    sizes = Counter(repositories.values())
    if len(sizes) < 2:
        with pytest.raises(ExchangeError, match="across repositories takes two"):
            partners(repositories, seed, "repositories")
        return
    found = partners(repositories, seed, "repositories")
    assert all(repositories[one] != repositories[other] for one, other in found.items())
    if max(sizes.values()) * 2 <= len(repositories):
        assert set(found.values()) == repositories.keys()


def test_records_keep_their_text_and_say_whose_it_is() -> None:
    records = [record("a"), record("b"), record("b", SourceName.NEXT_FILE), record("stranger")]
    one, other = exchanged(records, {"a": "x", "b": "y"}, 0, "repositories")
    assert (one.instance_id, one.text) == ("a", "of b")
    assert (other.instance_id, other.text) == ("b", "of a")
    assert one.provenance.notes == ("of b: exchanged across repositories as a control",)
    with pytest.raises(ExchangeError, match="no PI of c and 0 more"):
        exchanged(records, {"a": "x", "b": "y", "c": "z"}, 0, "instances")
