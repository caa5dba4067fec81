"""What a model is asked."""

from typing import Literal

MATH = (
    "Solve the following math problem step by step. The last line of your response should be of "
    "the form Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n"
    "{question}"
)
"""Source: OmniOPD, App. A, Table 7 (its printed `\\\\$` is an escaped dollar sign)."""

CODE = (
    "Solve the following programming problem in Python 3. Unless the problem gives a function to "
    "complete, write a whole program that reads standard input and writes standard output. The "
    "last fenced block of your response (```python) has to be your complete code.\n\n"
    "{question}"
)


def prompt_of(kind: Literal["math", "code"]) -> str:
    """The template of a kind of questions, with `{question}` in it."""
    return MATH if kind == "math" else CODE
