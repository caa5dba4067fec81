"""Calls one function of an answer's program; runs inside the sandbox as a script.

Arguments: the program's path and the function's name. Standard input is the JSON list of arguments,
standard output the JSON of the result; what the program itself prints goes to standard error.
"""

import json
import os
import sys

# Names that the starter code of APPS and TACO uses without importing them.
_NAMES = """\
import bisect, collections, functools, heapq, itertools, math, operator, random, re, string
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import *
from typing import *
"""


def main() -> None:
    """Call the function, a method of `Solution` where there is no such function."""
    path, name = sys.argv[1:]
    result = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    arguments = json.load(sys.stdin)
    names: dict[str, object] = {"__name__": "answer"}
    exec(_NAMES, names)  # noqa: S102
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        exec(compile(file.read(), path, "exec"), names)  # noqa: S102
    function = names.get(name)
    if function is None:
        function = getattr(names["Solution"](), name)  # type: ignore[operator]
    json.dump(function(*arguments), result, default=list)  # type: ignore[operator]
    result.flush()


if __name__ == "__main__":
    main()
