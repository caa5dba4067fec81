"""Labels and agreement."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.viewer.labels import Label, Labels, agreement


def label(annotator: str, turn: int, score: int, **more: object) -> Label:
    given = {"run": "r", "instance": "i", "seed": 0, "turn": turn, "score": score}
    return Label.model_validate({"annotator": annotator, **given, **more})


def test_a_later_label_replaces_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "labels.sqlite"
    Labels(path).put(label("a", 1, 3))
    labels = Labels(path)
    labels.put(label("a", 1, 5))
    labels.put(label("b", 1, 4))
    assert [(one["annotator"], one["score"]) for one in labels.of("r", "i", 0)] == [
        ("a", 5),
        ("b", 4),
    ]
    assert labels.of("r", "i", 1) == []


@pytest.mark.parametrize(
    "wrong", [{"score": 6}, {"turn": 0}, {"instance": "../x"}, {"annotator": "<b>"}]
)
def test_what_is_no_label(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Label.model_validate(label("a", 1, 3).model_dump() | wrong)


def rows(table: list[tuple[str, list[int]]]) -> list[dict[str, object]]:
    return [
        {"annotator": name, "run": "r", "instance": "i", "seed": 0, "turn": turn, "score": score}
        for name, scores in table
        for turn, score in enumerate(scores)
    ]


def test_agreement_of_two_is_cohen_s_kappa() -> None:
    """50 items, observed 0.70, expected 0.50: κ = 0.4, a textbook's example."""
    a = [1] * 25 + [2] * 25
    b = [1] * 20 + [2] * 5 + [1] * 10 + [2] * 15
    (pair,) = agreement(rows([("a", a), ("b", b)]))["pairs"]
    assert pair["kappa"] == pytest.approx(0.4)
    assert pair["actions"] == 50
    assert pair["low"] < 0.4 < pair["high"]


def test_agreement_of_several_is_fleiss_kappa() -> None:
    """Fleiss 1971 by hand: 3 raters, 4 items: P̄ = 2/3, P̄e = 0.5, κ = 1/3."""
    found = agreement(rows([("a", [1, 1, 2, 2]), ("b", [1, 1, 2, 2]), ("c", [1, 2, 2, 1])]))
    assert found["fleiss"]["kappa"] == pytest.approx(1 / 3)
    assert found["fleiss"]["actions"] == 4
    assert found["annotators"] == {"a": 4, "b": 4, "c": 4}


def test_agreement_that_is_not_defined() -> None:
    assert agreement([])["fleiss"]["kappa"] is None
    same = agreement(rows([("a", [3, 3]), ("b", [3, 3])]))
    assert (same["fleiss"]["kappa"], same["pairs"][0]["kappa"]) == (None, None)
    apart = agreement(rows([("a", [1, 2]), ("b", [])]))
    assert apart["fleiss"] == {"kappa": None, "actions": 2, "annotators": 1}
