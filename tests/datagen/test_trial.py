import pytest

from harness.datagen.trial import TrialError, compare

OK, BAD = "PASSED", "FAILED"


def test_tests_are_sorted_into_the_lists() -> None:
    before = {"new": BAD, "kept": OK, "skipped": "SKIPPED", "collected later": "ERROR"}
    after = {"new": OK, "kept": OK, "skipped": "SKIPPED", "collected later": OK, "only now": OK}
    lists = compare("i", [before, before], [after, after])
    assert lists.fail_to_pass == ("collected later", "new", "only now")
    assert lists.pass_to_pass == ("kept",)
    assert lists.unsteady == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([OK, BAD], [OK, OK]),
        ([OK, OK], [OK, BAD]),
        ([BAD, BAD], [OK, BAD]),
        ([OK, None], [OK, OK]),
        ([OK, OK], [OK, None]),
        (["AMBIGUOUS"] * 2, ["AMBIGUOUS"] * 2),
    ],
)
def test_an_unsteady_test_is_in_no_list(before: list[str | None], after: list[str | None]) -> None:
    def runs(odds: list[str | None], new: str) -> list[dict[str, str]]:
        return [{"new": new, **({"odd": odd} if odd else {})} for odd in odds]

    lists = compare("i", runs(before, BAD), runs(after, OK))
    assert (lists.fail_to_pass, lists.pass_to_pass, lists.unsteady) == (("new",), (), ("odd",))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": OK}, {"a": OK}, "no test fails before the fix"),
        ({"a": BAD, "b": OK}, {"a": OK, "b": BAD}, "b is FAILED with the fix"),
        ({"a": BAD, "b": BAD}, {"a": OK, "b": BAD}, "b is FAILED with the fix"),
        ({"a": BAD, "b": OK}, {"a": OK}, "b is gone with the fix"),
    ],
)
def test_an_instance_that_is_not_fit_is_refused(
    before: dict[str, str], after: dict[str, str], said: str
) -> None:
    with pytest.raises(TrialError, match=f"i: {said}"):
        compare("i", [before], [after])


def test_tests_that_depend_on_the_machine_can_be_left_out() -> None:
    before = {"new": BAD, "f::a[x]": OK, "f::b": BAD, "f::ab": OK}
    after = {"new": OK, "f::a[x]": BAD, "f::b": OK, "f::ab": OK}
    lists = compare("i", [before], [after], left_out={"f::a": "why", "f::b": "why"})
    assert (lists.fail_to_pass, lists.pass_to_pass) == (("new",), ("f::ab",))
