"""Expert targets: each way in which a call meets the gold patch, and each in which it does not."""

import gzip
import json
from collections import Counter

import pytest

from harness.agents.rehearsal import Call, _command, script
from harness.datagen.edits import Shells, tool_operations
from harness.datagen.triples_actions import Answer, read_answer
from harness.datagen.triples_align import Alignment, Miss, Target, align
from harness.datagen.triples_gold import gold_files, text_change
from harness.records import Instance
from harness.suites.load import load_suite
from tests.conftest import REAL_ROWS, make_instance
from tests.datagen.trajectories import FILE, Turn, edit, response

GOLD = """\
diff --git a/pkg/a.py b/pkg/a.py
--- a/pkg/a.py
+++ b/pkg/a.py
@@ -1,5 +1,5 @@
 def first():
     x = 1
-    return x
+    return x + 1
 
 # end of first
@@ -20,4 +20,6 @@
 def second():
     y = 2
+    if y:
+        y = 3
     return y
 # end
diff --git a/pkg/new.py b/pkg/new.py
new file mode 100644
--- /dev/null
+++ b/pkg/new.py
@@ -0,0 +1,2 @@
+a = 1
+b = 2
"""
INSTANCE = make_instance(patch=GOLD)


def target(turn: Turn, *, min_similarity: float = 0.8) -> Target | Miss:
    """What the last call of a turn is."""
    answer = read_answer(json.dumps(response(turn)).encode())
    assert answer is not None
    shells = Shells()
    operations = [tool_operations(one.tool, one.arguments, shells) for one in answer.calls]
    return align(
        answer,
        len(answer.calls) - 1,
        operations[-1],
        gold_files(INSTANCE),
        min_similarity=min_similarity,
    )


def expert(turn: Turn) -> Target:
    """The target of a turn that is one."""
    found = target(turn)
    assert isinstance(found, Target), found
    return found


def said(found: Target) -> str:
    """The text of the action."""
    action = found.answer.calls[found.call]
    return found.answer.text[action.start : action.end]


def test_the_gold_edit_is_exact() -> None:
    """With less context than the hunk has, and as the model wrote it."""
    turn = Turn("I mend it.", [edit("    x = 1\n    return x\n", "    x = 1\n    return x + 1\n")])
    found = expert(turn)
    assert (found.alignment, found.similarity, found.hunks) == (Alignment.EXACT, 1.0, (0,))
    assert not found.rewritten
    assert json.loads(said(found).split("\n")[1])["arguments"] == dict(turn.calls[0][1])
    assert found.answer.text.startswith("I mend it.\n<tool_call>")


def test_another_edit_of_the_same_lines_is_rewritten_to_the_gold() -> None:
    """Only the new text: the old one is in the file of this state."""
    found = expert(Turn("", [edit("def second():\n    y = 2\n", "def second():\n    y = 7\n")]))
    assert (found.alignment, found.rewritten, found.hunks) == (Alignment.REGION, True, (1,))
    assert found.similarity == 0.0
    arguments = json.loads(said(found).split("\n")[1])["arguments"]
    assert arguments["old_str"] == "def second():\n    y = 2\n"
    assert arguments["new_str"] == "def second():\n    y = 2\n    if y:\n        y = 3\n"


def test_both_hunks_in_one_edit() -> None:
    """Rewritten together."""
    middle = "".join(f"line{n}\n" for n in range(14))
    old = f"    return x\n\n# end of first\n{middle}def second():\n    y = 2\n    return y\n"
    found = expert(Turn("", [edit(old, "")]))
    assert (found.hunks, found.rewritten) == ((0, 1), True)
    assert "return x + 1" in said(found)
    assert "y = 3" in said(found)


def test_a_new_file_is_exact_or_rewritten() -> None:
    """A file that the gold patch creates."""
    given = {"command": "create", "path": "/testbed/pkg/new.py", "file_text": "a = 1\nb = 2"}
    assert expert(Turn("", [("file_editor", given)])).alignment is Alignment.EXACT
    found = expert(Turn("", [("file_editor", {**given, "file_text": "a = 2\n"})]))
    assert (found.alignment, found.rewritten) == (Alignment.REGION, True)
    assert "a = 1\\nb = 2\\n" in said(found)


def test_earlier_calls_stay_and_later_ones_go() -> None:
    """The answer of a rewritten call ends with it."""
    view = ("file_editor", {"command": "view", "path": FILE})
    found = expert(Turn("", [view, edit("    return x\n", "    return 5\n")]))
    assert found.answer.text.count("<tool_call>") == 2
    assert found.answer.calls[0].tool == found.answer.calls[1].tool == "file_editor"


FUNCTION = """I mend it.
<function=file_editor>
<parameter=command>str_replace</parameter>
<parameter=path>/testbed/pkg/a.py</parameter>
<parameter=old_str>
    x = 1
    return x
</parameter>
<parameter=new_str>
{new}
</parameter>
</function>"""


@pytest.mark.parametrize(
    ("new", "alignment"),
    [("    x = 1\n    return x + 1", "exact"), ("    x = 1\n    return 9", "region")],
)
def test_the_text_protocol(new: str, alignment: str) -> None:
    """The rewritten call differs in its new text alone."""
    found = expert(Turn(FUNCTION.format(new=new)))
    assert found.alignment == alignment
    assert found.answer.text == FUNCTION.format(new="    x = 1\n    return x + 1")


def test_a_text_call_is_not_rewritten_where_white_space_would_be_lost() -> None:
    """OpenHands strips values of this protocol; here the first line changes its indentation."""
    answer = read_answer(json.dumps(response(Turn(FUNCTION.format(new="    y")))).encode())
    assert isinstance(answer, Answer)
    assert answer.replaced(0, "new_str", "        z") is None
    assert answer.replaced(0, "new_str", "    z") is not None
    twice = FUNCTION.format(new="    x = 1\n    return x")
    answer = read_answer(json.dumps(response(Turn(twice))).encode())
    assert isinstance(answer, Answer)
    assert answer.replaced(0, "new_str", "    z") is None


def shell(command: str) -> Turn:
    """A shell command in a code block."""
    return Turn(f"THOUGHT: so\n\n```mswea_bash_command\n{command}\n```")


def test_a_diff_is_exact_when_its_changes_are() -> None:
    """Applied by git, from a here-document."""
    found = expert(shell(f"git apply <<'P'\n{GOLD}P"))
    assert (found.alignment, found.hunks) == (Alignment.EXACT, (0, 1, 2))
    assert said(found).startswith("```mswea_bash_command\ngit apply")
    assert said(found).endswith("\n```")


def test_an_edit_like_the_gold_one_is_content() -> None:
    """More changed lines than the gold has."""
    more = GOLD.replace("@@ -20,4 +20,6", "@@ -20,4 +20,7").replace(
        "y = 3\n", "y = 3\n+    z = 1\n"
    )
    found = expert(shell(f"git apply <<'P'\n{more}P"))
    assert found.alignment is Alignment.CONTENT
    assert found.similarity == pytest.approx(10 / 11)


def test_a_program_with_the_gold_lines_is_literal() -> None:
    """What it replaces is computed; the lines that it adds are there."""
    program = (
        "p = 'pkg/a.py'\nlines = open(p).readlines()\n"
        "lines[21:21] = '''    if y:\n        y = 3\n'''.splitlines(True)\n"
        "open(p, 'w').writelines(lines)"
    )
    found = expert(shell(f"python - <<'E'\n{program}\nE"))
    assert (found.alignment, found.similarity, found.hunks) == (Alignment.LITERAL, 1.0, (1,))


def test_of_equal_hunks_one_is_met() -> None:
    """An edit that makes one of them is exact."""
    hunk = "@@ -{n},2 +{n},2 @@\n a\n-b\n+c\n"
    head = "--- a/x.py\n+++ b/x.py\n"
    files = gold_files(make_instance(patch=head + hunk.format(n=1) + hunk.format(n=9)))
    answer = read_answer(json.dumps(response(shell("true"))).encode())
    assert answer is not None
    operations = Shells().run(f"git apply <<'P'\n{head}{hunk.format(n=9)}P", persistent=False)
    found = align(answer, 0, operations, files)
    assert isinstance(found, Target)
    assert (found.alignment, found.hunks) == (Alignment.EXACT, (0,))


def test_a_hunk_that_may_stand_in_two_places_is_made_in_none() -> None:
    """Its lines are too much alike for what there is of them."""
    patch = "--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,3 @@\n a\n-a\n+b\n a\n"
    (file,) = gold_files(make_instance(patch=patch))
    assert file.applied_to("a\na\na\n")[0] == "a\nb\na\n"
    assert file.applied_to("a\na\n") == ("a\na\n", [])


def test_long_texts_are_compared_in_bounded_time() -> None:
    """Line by line, without their order."""
    long = [f"{n % 7}\n" for n in range(40_000)]
    change = text_change("a.py", "".join(long) + "x\n", "".join(long) + "y\n")
    assert change == {("a.py", "-", "x"): 1, ("a.py", "+", "y"): 1}
    assert text_change("a.py", "x\nz", "y\nz") == change


def test_a_program_is_never_rewritten() -> None:
    """It has no argument that could be."""
    program = "p = 'pkg/a.py'\nt = open(p).read().replace('    return x\\n', '    return 9\\n')\n"
    command = f"python - <<'E'\n{program}open(p, 'w').write(t)\nE"
    assert target(Turn("", [("bash", {"command": command})])) is Miss.BELOW_SIMILARITY


@pytest.mark.parametrize(
    ("turn", "miss"),
    [
        (Turn("", [edit("x", "y", "/testbed/pkg/b.py")]), Miss.OUTSIDE_GOLD),
        (Turn("", [edit("x", "y", "/tmp/pkg/a.py")]), Miss.OUTSIDE_GOLD),
        (Turn("", [edit("    z = 1\n", "    z = 2\n")]), Miss.NO_OVERLAP),
        (shell("sed -i 's/return x/return 2/' pkg/a.py"), Miss.NO_OVERLAP),
        (
            shell("cat >> pkg/a.py <<'E'\nreturn x + 1\nq\nw\ne\nr\nE"),
            Miss.BELOW_SIMILARITY,
        ),
    ],
)
def test_calls_that_are_no_expert_action(turn: Turn, miss: Miss) -> None:
    """With the reason."""
    assert target(turn) is miss


def test_the_threshold_is_a_matter_of_the_caller() -> None:
    """The same call is a target when less is asked."""
    turn = shell("cat >> pkg/a.py <<'E'\nreturn x + 1\nq\nw\ne\nr\nE")
    found = target(turn, min_similarity=0.2)
    assert isinstance(found, Target)
    assert found.similarity == pytest.approx(2 / 7)


@pytest.mark.parametrize(
    "content",
    [
        {"content": "two\n```bash\na\n```\n```bash\nb\n```"},
        {"content": "", "tool_calls": [{"function": {"name": "x", "arguments": "{"}}]},
        {"content": "", "tool_calls": ["x"]},
    ],
)
def test_answers_that_cannot_be_read(content: dict[str, object]) -> None:
    """Several commands, arguments that are no JSON, no call at all."""
    assert read_answer(json.dumps({"choices": [{"message": content}]}).encode()) is None
    assert read_answer(b"[") is None


def _native(call: Call) -> Turn:
    return Turn(call.thought, [(call.tool, dict(call.arguments))])


def _fence(call: Call) -> Turn:
    return Turn(f"THOUGHT: {call.thought}\n\n```bash\n{_command(call)}\n```")


def _played(instance: Instance) -> tuple[Counter[str], bool]:
    """The gold patch through an editor and a shell: alignments, and whether all hunks are met."""
    gold = gold_files(instance)
    every = {hunk.number for file in gold for hunk in file.hunks}
    kinds: Counter[str] = Counter()
    whole = True
    for form in (_native, _fence):
        met: set[int] = set()
        shells = Shells()
        for call in script(instance):
            answer = read_answer(json.dumps(response(form(call))).encode())
            assert answer is not None
            operations = tool_operations(answer.calls[0].tool, answer.calls[0].arguments, shells)
            if operations:
                found = align(answer, 0, operations, gold)
                kinds[found.alignment if isinstance(found, Target) else found] += 1
                met |= set(found.hunks) if isinstance(found, Target) else set()
        whole = whole and met == every
    return kinds, whole


def test_every_gold_edit_of_the_shipped_suite_is_exact() -> None:
    """And together they are the gold patch."""
    for instance in load_suite("pypi-mini").instances:
        kinds, whole = _played(instance)
        assert (set(kinds), whole) == ({Alignment.EXACT}, True), instance.instance_id


@pytest.mark.slow
def test_every_gold_edit_of_real_instances_is_exact() -> None:
    """Of 725 instances; equal hunks of one patch are told apart where their context differs."""
    kinds: Counter[str] = Counter()
    wholes = []
    for name in ("dev", "verified"):
        path = REAL_ROWS / f"swebench_{name}_v5.jsonl.gz"
        if not path.is_file():
            pytest.skip("no real rows here")
        with gzip.open(path, "rt") as file:
            for line in file:
                found, whole = _played(Instance.model_validate(json.loads(line)))
                kinds += found
                wholes.append(whole)
    assert kinds == {Alignment.EXACT: 5158}
    assert wholes.count(True) == 714
