"""Whether answers mean the same: the library through our worker, and answers that attack it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.questions.mathematics import MEMORY_BYTES, MathJudge

pytest.importorskip("math_verify")

RIGHT = [
    ("204", "204.0"), ("073", "73"), ("204", "0204"), ("1,000", "1000"), ("1000", "1,000"),
    ("1{,}000", "1000"), ("\\frac{1}{2}", "1/2"), ("\\frac12", "0.5"), (".5", "\\dfrac{1}{2}"),
    ("\\frac{3}{4}", "\\frac{6}{8}"), ("-\\frac{1}{3}", "\\frac{-1}{3}"), ("11\\frac12", "11.5"),
    ("25\\%", "25"), ("25", "25\\%"), ("25\\%", "0.25"), ("25\\%", "25%"),
    ("[0,1)", "\\left[0, 1\\right)"), ("(-\\infty, 3]", "(-\\infty,3]"), ("x\\in[-2,7]", "[-2,7]"),
    ("(-1,2)\\cup(3,4)", "(3,4)\\cup(-1,2)"), ("\\{1,2,3\\}", "\\{3,2,1\\}"), ("\\{1,2\\}", "1,2"),
    ("1,2,3", "3, 2, 1"), ("$2$, $3$", "3, 2"), ("1\\pm\\sqrt{19}", "1+\\sqrt{19},1-\\sqrt{19}"),
    ("(3,\\frac{\\pi}{2})", "(3, \\pi/2)"), ("5\\text{ cm}", "5"), ("5", "5\\text{ cm}"),
    ("5 cm", "5"), ("\\$5", "5"), ("90^\\circ", "90"), ("90", "90°"), ("-3", "−3"), ("\\pi", "π"),
    ("\\sqrt{2}", "2^{1/2}"), ("2\\sqrt{3}", "\\sqrt{12}"), ("x^2+2x+1", "(x+1)^2"),
    ("x=5", "5"), ("5", "x=5"), ("y=2x+3", "2x+3"), ("2^{10}", "1024"), ("10!", "3628800"),
    ("3\\times 10^5", "300000"), ("6 - 5i", "6-5i"), ("\\emptyset", "\\varnothing"),
    ("\\text{Evelyn}", "Evelyn"), ("\\text{(C)}", "C"), ("\\mathrm{odd}", "Odd"),
    ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{bmatrix}1\\\\2\\end{bmatrix}"),
    ("2k+1, k\\in\\mathbb{Z}", "2k+1,\\ k \\in \\mathbb{Z}"),  # unreadable, but the same text
]  # fmt: skip
WRONG = [
    ("204", "205"), ("204", "-204"), ("1,000", "1"), ("1000", "1,0000"), ("\\frac{1}{2}", "2"),
    ("\\frac{1}{3}", "0.333"), ("25\\%", "2.5"), ("[0,1)", "(0,1)"), ("[0,1)", "[0,1]"),
    ("\\{1,2,3\\}", "\\{1,2\\}"), ("1,2", "1"), ("1", "1,2"), ("(1,2)", "(2,1)"),
    ("12", "12 \\text{ or } 13"), ("x<3", "3"), ("x<3", "x\\le 3"), ("p - q", "q - p"),
    ("\\sqrt{2}", "1.414"), ("\\pi", "3.14"), ("\\text{odd}", "even"), ("(C)", "D"),
    ("5", "$Answer"), ("5", "the answer"), ("5", "?"), ("\\frac{1}{2}", "\\frac{1}{"),
    ("2k+1, k\\in\\mathbb{Z}", "2k"),
]  # fmt: skip


@pytest.fixture(scope="module")
def judge() -> Iterator[MathJudge]:
    with MathJudge(seconds=1.5) as judge:
        yield judge


def test_right_answers(judge: MathJudge) -> None:
    assert [pair for pair in RIGHT if not judge.compare(*pair).same] == []


def test_wrong_answers(judge: MathJudge) -> None:
    assert [pair for pair in WRONG if judge.compare(*pair).same] == []


def test_what_cannot_be_read_is_named(judge: MathJudge) -> None:
    assert judge.compare("5", "???").reads == "no answer"
    assert judge.compare("2k+1, k\\in\\mathbb{Z}", "5").reads == "no reference"


def test_answers_are_not_executed(judge: MathJudge, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    for attack in (
        f"__import__('pathlib').Path('{proof}').write_text('x')",
        f"\\text{{__import__('os').system('touch {proof}')}}",
        f"\n__import__('os').system('touch {proof}')\n",
    ):
        assert not judge.compare("5", attack).same
    assert not proof.exists()


def test_an_answer_without_end_costs_its_time_and_the_next_one_is_judged(judge: MathJudge) -> None:
    said = judge.compare("1", "9^{9^{9^{9}}} - 9^{9^{9^{8}}}")
    assert (said.over_limit, said.same) == (True, False)
    assert judge.pid is None
    assert judge.compare("2", "1+1").same


def test_the_process_has_limits_and_no_secrets(judge: MathJudge) -> None:
    judge.compare("1", "2-1")
    assert judge.pid is not None
    process = Path(f"/proc/{judge.pid}")
    limits = {line[:26].strip(): line[26:].split()[0] for line in (process / "limits").open()}
    assert limits["Max address space"] == str(MEMORY_BYTES)
    assert limits["Max file size"] == "0"
    assert b"HOME=" not in (process / "environ").read_bytes()
