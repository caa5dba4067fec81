"""What endpoints of many kinds can do, and what each is asked."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.omniopd.teachers.scripted import QUESTION, Scripted, ask, one, rest
from trainers.engine.errors import TeacherError
from trainers.omniopd.teachers.prefill import INSTRUCTION, frame
from trainers.omniopd.teachers.wire import named

FLAGS = {"continue_final_message": True, "add_generation_prompt": False}


def test_vllm_continues_an_answer_with_one_request(tmp_path: Path) -> None:
    with Scripted(flags=True).serve() as server:
        teacher = server.teacher(tmp_path, temperature=0.7, top_p=0.9, length_factor=1.5)
        found = one(teacher, "The quick", count=3, tokens=5)
        can = teacher.capability
    assert (can.prefill, can.strips_space, can.together) == ("continue_final_message", False, 10)
    assert (can.usage, can.cached_tokens, can.served) == (True, True, "/models/one")
    assert can.left_out == ()
    assert len(server.asked) == 5
    assert server.asked[0]["n"] == 10
    assert can.requests == 4
    assert can.generated_tokens == 30 + 3 * 3
    assert server.last["seed"] != 0
    seed = server.last.pop("seed")
    assert server.last == {
        "model": "one",
        "messages": [QUESTION.model_dump(), {"role": "assistant", "content": "The quick"}],
        "max_tokens": 8,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "n": 3,
        **FLAGS,
    }
    assert found.texts == (rest("The quick"),) * 3
    prompt = len("go on") + len("The quick") + 20
    assert (found.prompt_tokens, found.generated_tokens) == (prompt, 9)
    assert found.cached_tokens == prompt // 2
    assert found.requests == 1
    with server.serve():
        again = server.teacher(tmp_path, temperature=0.7, top_p=0.9, length_factor=1.5)
        one(again, "The quick", count=3, tokens=5)
        assert server.last["seed"] == seed
        one(again, "The quick", count=3, tokens=5, seed=1)
        assert server.last["seed"] != seed
        assert again.capability == can
    assert len(server.asked) == 7


def test_whoever_begins_anew_is_told_to_continue(tmp_path: Path) -> None:
    with Scripted(trailing="anew").serve() as server:
        teacher = server.teacher(tmp_path)
        one(teacher, "a text")
    can = teacher.capability
    assert can.prefill == "instruction"
    assert can.said == ("refused", "The quick brown fox jumps over the lazy dog.")
    assert [each["role"] for each in server.last["messages"]] == ["user", "assistant", "user"]
    assert server.last["messages"][1:] == [
        {"role": "assistant", "content": "a text"},
        {"role": "user", "content": INSTRUCTION},
    ]


def test_an_instruction_s_answer_without_what_it_repeats() -> None:
    framed = frame(ask("def found(x):\n    return x"), "instruction", strips_space=False)
    cases = {
        "def found(x):\n    return x + 1": " + 1",
        "    return x + 1": " + 1",
        "x + 1": "x + 1",  # may be new
        " + 1": " + 1",
        "": "",
    }
    assert {each: framed.continuation(each) for each in cases} == cases
    indented = frame(ask("if x:\n    "), "instruction", strips_space=False)
    assert indented.continuation("    return") == "return"


@pytest.mark.parametrize("trailing", ["refused", "anew"])
def test_who_does_not_continue_is_said_where_it_has_to(tmp_path: Path, trailing: Any) -> None:
    with Scripted(trailing=trailing).serve() as server:
        assert server.teacher(tmp_path / "auto").capability.prefill == "instruction"
        with pytest.raises(TeacherError, match=r"text_teacher.prefill: 'one' does not continue"):
            server.teacher(tmp_path, prefill="prefill").check([])
        count = len(server.asked)
        told = server.teacher(tmp_path, prefill="instruction")
        assert told.capability.prefill == "instruction"
        assert len(server.asked) == count + 1


def test_a_trailing_message_that_is_continued(tmp_path: Path) -> None:
    with Scripted(trailing="continues").serve() as server:
        teacher = server.teacher(tmp_path)
        found = one(teacher, "The quick ")
        assert server.last["messages"][-1] == {"role": "assistant", "content": "The quick "}
        one(teacher, "")
        assert server.last["messages"] == [QUESTION.model_dump()]
    assert teacher.capability.prefill == "trailing"
    assert "continue_final_message" not in server.last
    assert found.texts[0].startswith("brown")


def test_white_space_that_is_refused_is_taken_off_and_accounted_for(tmp_path: Path) -> None:
    with Scripted(trailing="continues", space=False).serve() as server:
        teacher = server.teacher(tmp_path)
        found = one(teacher, "The quick ")
        assert server.last["messages"][-1]["content"] == "The quick"
        one(teacher, " \n ")
        assert len(server.last["messages"]) == 1
    assert teacher.capability.strips_space
    assert found.texts == (rest("The quick "),) * 2
    framed = frame(ask("if x:\n    "), "trailing", strips_space=True)
    cases = {"\n    y": "y", "\n\ty": "\ty", "y": "y", "\n    ": "", "\n      y": "  y"}
    assert {each: framed.continuation(each) for each in cases} == cases


def test_a_message_that_is_not_closed_is_continued_whatever_is_written(tmp_path: Path) -> None:
    with Scripted(flags=True, mumbles=True).serve() as server:
        assert server.teacher(tmp_path).capability.prefill == "continue_final_message"
    with Scripted(trailing="continues", mumbles=True).serve() as server:
        assert server.teacher(tmp_path / "other").capability.prefill == "instruction"


@pytest.mark.parametrize("several", ["ignored", "refused"])
def test_without_n_there_are_as_many_requests(tmp_path: Path, several: Any) -> None:
    with Scripted(flags=True, several=several).serve() as server:
        teacher = server.teacher(tmp_path)
        teacher.check([])
        before = len(server.asked)
        found = one(teacher, "a b", count=3)
    asked = server.asked[before:]
    assert teacher.capability.together == 1
    assert not any("n" in body for body in asked)
    assert len({body["seed"] for body in asked}) == len(asked) == found.requests == 3
    assert found.texts == (" after b",) * 3
    assert found.generated_tokens == 9


def test_more_than_an_endpoint_gives_at_once(tmp_path: Path) -> None:
    with Scripted(flags=True).serve() as server:
        found = one(server.teacher(tmp_path), "a", count=23)
    assert sorted(body["n"] for body in server.asked[-3:]) == [3, 10, 10]
    assert len(found.texts) == 23


def test_what_is_refused_by_name_is_left_out(tmp_path: Path) -> None:
    refuses = ("top_k", "min_p", "max_tokens")
    with Scripted(trailing="continues", refuses=refuses).serve() as server:
        server.trouble = []
        teacher = server.teacher(tmp_path)
        server.refuses = ("top_k", "min_p")
        one(teacher, "a")
    assert teacher.capability.left_out == ("top_k", "min_p")
    assert "n" in server.last
    assert "repetition_penalty" in server.last

    message = "Unsupported parameter: 'max_tokens'; use 'max_completion_tokens' instead."
    with Scripted(trailing="continues", trouble=[(400, message)]).serve() as server:
        teacher = server.teacher(tmp_path / "other")
        one(teacher, "a")
    assert server.last["max_completion_tokens"] == 8
    assert "max_tokens" not in server.last
    known = ("n", "top_k", "seed")
    cases = {
        "n must be 1": "n",
        "unknown: `n`": "n",
        "'top_k' is unknown; supported: n, seed": "top_k",
        "this isn't a number": None,
    }
    assert {says: named(says, known) for says in cases} == cases


def test_a_text_is_continued_as_it_is(tmp_path: Path) -> None:
    with Scripted().serve() as server:
        teacher = server.teacher(tmp_path, prompt="text")
        plain = ask("")._replace(messages=(), text="The quick")
        [(_, found)] = teacher.continuations([plain], 2, 0)
        with pytest.raises(TeacherError, match=r"set text_teacher\.prompt: chat"):
            teacher.check([ask("a")])
        with pytest.raises(TeacherError, match=r"set text_teacher\.prompt: text"):
            server.teacher(tmp_path).check([plain])
    assert server.asked[1]["prompt"] == "The quick"
    assert found.texts == (rest("The quick"),) * 2


def test_another_model_is_asked_anew(tmp_path: Path) -> None:
    with Scripted(flags=True).serve() as server:
        before = server.teacher(tmp_path).identity
        server.root, server.flags, server.trailing = "/models/two", False, "continues"
        after = server.teacher(tmp_path)
        assert after.capability.prefill == "trailing"
        assert {key for key in before if before[key] != after.identity[key]} == {
            "served",
            "prefill",
        }
        server.answers_as = "two"
        with pytest.raises(TeacherError, match="now answers as 'two', and did as 'one'"):
            one(after, "a")
        assert server.teacher(tmp_path).identity["answers_as"] == "two"
