"""Compares mathematical answers by math-verify; run as a process of its own by `mathematics`.

Reads `{"gold": …, "answer": …}` lines and answers each with one line; `{}` says it is ready. The
kernel's alarm kills it when one comparison takes too much CPU time, which does not depend on what
else the machine does: neither the parser nor sympy can be stopped otherwise. Only LaTeX is parsed;
math-verify's parser of plain expressions would evaluate them as Python.
"""

import json
import logging
import resource
import signal
import sys
from typing import Any

_REPLACED = (
    (r"\$", ""),
    ("$", ""),
    ("°", r"^\circ"),
    ("−", "-"),
    (r"\varnothing", r"\emptyset"),
    ("π", r"\pi "),
)


def main() -> None:
    """Answer requests until standard input ends. Arguments: CPU seconds of one, bytes of memory."""
    seconds, memory = float(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    import math_verify  # noqa: F401

    print("{}", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer = json.dumps(compare(request["gold"], request["answer"]))
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(answer, flush=True)


def compare(gold: str, answer: str) -> dict[str, bool]:
    """Whether each can be read as mathematics, and whether they mean the same."""
    parsed = parse(gold), parse(answer)
    return {"gold": bool(parsed[0]), "answer": bool(parsed[1]), "same": same(*parsed)}


def parse(text: str) -> list[Any]:
    """What math-verify reads in a text of LaTeX; nothing when it cannot be read."""
    from math_verify import LatexExtractionConfig, parse

    for old, new in _REPLACED:
        text = text.replace(old, new)
    try:
        found = parse(
            f"${text}$",
            extraction_config=[LatexExtractionConfig()],
            fallback_mode="no_fallback",
            parsing_timeout=None,
        )
    except (Exception, RecursionError):
        return []
    return list(found)


def same(gold: list[Any], answer: list[Any]) -> bool:
    """math-verify's verdict; what it cannot compare is not the same."""
    from math_verify import verify

    try:
        return bool(verify(gold, answer, timeout_seconds=None))
    except (Exception, RecursionError):
        return False


if __name__ == "__main__":
    main()
