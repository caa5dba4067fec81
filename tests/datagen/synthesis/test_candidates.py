from harness.datagen.synthesis.candidates import Candidate, candidates
from harness.datagen.synthesis.operators import OPERATORS

SOURCE = """\
class Box:
    def put(self, item, place):
        if item is None:
            return
        def inner(x):
            return x + 1
        self.keep(item, place)


def free(a):
    return a < 1
"""
FILES = {"m.py": SOURCE}


def found(**options: object) -> list[Candidate]:
    given: dict[str, object] = {"operators": OPERATORS, "seed": "s", "covered": None, **options}
    return list(candidates(FILES, **given))  # type: ignore[arg-type]


def test_order_is_of_sources_and_seed_alone() -> None:
    assert found() == found()
    assert found() != found(seed="t")
    assert sorted(one.key for one in found()) == sorted(one.key for one in found(seed="t"))


def test_operators_take_turns() -> None:
    kinds = [one.operator for one in found()]
    assert set(kinds[:4]) == {"arguments", "guard", "mutation", "statement"}


def test_only_covered_functions_are_edited() -> None:
    only = found(covered={("m.py", 10)})
    assert {one.function for one in only} == {"free"}
    inner = [one for one in found() if one.kind == "arithmetic"]
    assert {one.places for one in inner} == {(("m.py", 2), ("m.py", 5))}
    assert not [one for one in found(covered={("m.py", 10)}) if one.kind == "arithmetic"]


def test_edits_that_make_the_same_tree_are_one() -> None:
    one = found()[0]
    change = one.changes[0]
    spaced = one.model_copy(
        update={
            "operator": "commit",
            "changes": (change.model_copy(update={"text": change.text + " "}),),
        }
    )
    assert spaced.key != one.key
    every = found(operators=(*OPERATORS, "commit"), more=[spaced])
    assert len(every) == len(found())
    assert [two.key for two in found(operators=("commit",), more=[spaced])] == [spaced.key]


def test_what_is_no_program_or_no_change_is_left_out() -> None:
    (first, *_) = found()
    change = first.changes[0]
    for text in ("def", SOURCE[change.start : change.end]):
        broken = first.model_copy(
            update={
                "operator": "commit",
                "changes": (change.model_copy(update={"text": text}),),
            }
        )
        assert broken not in found(operators=("commit",), more=[broken])


def test_a_key_names_the_changes() -> None:
    keys = [one.key for one in found()]
    assert len(set(keys)) == len(keys)
