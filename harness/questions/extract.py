"""The final answer of a response, which may be anything."""

import re

MAX_ANSWER = 2_000
_BOXES = 100  # so many from the end are looked at
_LINE = re.compile(r"^[ \t>*_#\-]*(?:final[ \t]+)?answer[ \t*_]*[:\uff1a][ \t]*(.*)$", re.I | re.M)
_BOX = re.compile(r"\\(?:boxed|fbox)[ \t]*\{")
_FENCE = re.compile(r"[ \t]*```[ \t]*([\w+\-.]*)[^`]*")
_PYTHON = {"", "python", "python3", "py", "py3"}
_WRAPPED = (("$$", "$$"), ("$", "$"), (r"\[", r"\]"), (r"\(", r"\)"), ("**", "**"), ("`", "`"))


def spoken(response: str) -> str:
    """A response without its reasoning: what follows the last `</think>`; none when the reasoning
    was cut before its end."""
    _, closed, after = response.rpartition("</think>")
    if closed:
        return after
    return "" if "<think>" in response else response


def final_answer(response: str) -> str | None:
    """The mathematical answer: of the last line `Answer: …`, else of the last `\\boxed{…}`.

    Where nothing follows the colon, the next line that is not blank counts. None when there is
    no answer, or one of more than 2,000 characters.
    """
    text = spoken(response)
    answer: str | None = None
    if lines := list(_LINE.finditer(text)):
        answer = bare(lines[-1][1])
        if not answer:
            following = text[lines[-1].end() :][: 2 * MAX_ANSWER]
            answer = bare(following.strip().split("\n\n")[0])
    if not answer:
        answer = last_boxed(text)
    if answer and (inner := last_boxed(answer)):
        answer = inner
    return bare(answer) if answer and len(answer) <= MAX_ANSWER else None


def last_boxed(text: str) -> str | None:
    """What is inside the last `\\boxed{…}` or `\\fbox{…}` whose braces are closed."""
    starts = [match.end() for match in _BOX.finditer(text)]
    for start in reversed(starts[-_BOXES:]):
        depth = 1
        for place in range(start, min(len(text), start + MAX_ANSWER)):
            character = text[place]
            if text[place - 1] == "\\":
                continue
            depth += (character == "{") - (character == "}")
            if depth == 0:
                return text[start:place].strip()
    return None


def bare(text: str) -> str:
    """An answer without the marks of mathematics and emphasis around it, and its full stop."""
    text = text.strip()
    changed = True
    while changed:
        before = text
        text = text.strip().strip("*_").strip()
        if text.endswith(".") and not text.endswith("..."):
            text = text[:-1].rstrip()
        for opening, closing in _WRAPPED:
            inner = text[len(opening) : -len(closing)]
            long = len(text) > len(opening) + len(closing) - 1
            if long and text.startswith(opening) and text.endswith(closing):
                if opening not in inner and closing not in inner:
                    text = inner
                break
        changed = text != before
    return text


def last_program(response: str) -> str | None:
    """The program of a response: its last closed fenced block of Python, or without a language."""
    program: str | None = None
    language, block = "", None
    for line in spoken(response).split("\n"):
        if block is None:
            if opening := _FENCE.fullmatch(line):
                language, block = opening[1].lower(), list[str]()
        elif line.strip() == "```":
            if language in _PYTHON:
                program = "".join(f"{each}\n" for each in block)
            block = None
        else:
            block.append(line)
    return program
