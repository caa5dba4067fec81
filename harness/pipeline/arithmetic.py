"""Sums in a manifest: what a stage will take, from the manifest's own figures."""

import ast
import operator
from collections.abc import Callable, Mapping

from harness.config import ConfigError

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluate(expression: str | float, names: Mapping[str, float]) -> float:
    """The value of numbers and names joined by + - * / and parentheses.

    Raises ConfigError for anything else, naming the expression and the names that there are.
    """

    def value(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.Name(id=name):
                raise ConfigError(
                    f"{expression!r} asks for {name!r}; numbers are {', '.join(sorted(names))}"
                )
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](value(left), value(right))
        raise ConfigError(f"{expression!r}: only numbers, names, + - * / and parentheses")

    try:
        return value(ast.parse(str(expression), mode="eval").body)
    except (SyntaxError, ZeroDivisionError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{expression!r} has no value: {error}") from None
