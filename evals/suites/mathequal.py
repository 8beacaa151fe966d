"""When a program's answer to a maths question is the right one (DeepSeek's Evaluation/PAL-Math, from ToRA).

The text of this file runs on the test's side of a sandbox, before the test, so it imports nothing of ours;
``pal.py`` also uses ``normal`` for the answers that are expected.  Answers are hostile: the published code
hands them to sympy's ``parse_expr``, which evaluates them as Python.  Here they are taken apart as syntax
and built up again from numbers, letters and a few functions; time and memory end with the sandbox's.
"""

from __future__ import annotations

import ast
import contextlib
import math
import re
from collections.abc import Callable
from typing import Any

LONGEST = 1_000
"""Characters of an answer; a longer one is wrong."""


def agree(expected: str, answer: str) -> bool:
    """Whether an answer is the expected one: as a number, as a text, part by part, or as a formula.

    Numbers agree to one part in 10,000, also if one is the other's percentage.

    Args:
        expected: In its normal form.
        answer: As the program gave it.
    """
    return len(answer) <= LONGEST and _agree(expected, normal(answer))


def _agree(expected: str, answer: str) -> bool:
    numbers = _number(expected), _number(answer)
    if numbers[0] is not None and numbers[1] is not None:
        scaled = (numbers[1] / 100, numbers[1], numbers[1] * 100)
        return any(math.isclose(one, numbers[0], rel_tol=1e-4) for one in scaled)
    if not expected:
        return False
    expected, answer = expected.strip(), answer.strip()
    if _bare(expected, answer) == _bare(answer, expected, like=expected):
        return True
    brackets = {text[:1] + text[-1:] for text in (expected, answer)}
    if len(brackets) == 1 and brackets <= {"()", "[]"}:
        parts = [text[1:-1].split(",") for text in (expected, answer)]
        if len(parts[0]) == len(parts[1]) and all(map(_agree, *parts)):
            return True
    return _same_formula(expected, answer)


def _number(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        return float(text.replace(",", ""))
    return None


def _bare(text: str, other: str, *, like: str | None = None) -> str:
    """A text without braces and parentheses; without outer brackets if the expected one has such."""
    expected, answer = (text, other) if like is None else (like, text)
    listed = expected.startswith("[") and expected.endswith("]") and not answer.startswith("(")
    paired = expected.startswith("(") and expected.endswith(")") and not answer.startswith("[")
    if listed or paired:
        text = text.strip("[]()")
    return text.translate(dict.fromkeys(map(ord, "{}()")))


# ---------------------------------------------------------------------------------------- formulas


def _same_formula(expected: str, answer: str) -> bool:
    import sympy

    one, other = _formula(expected), _formula(answer)
    if one is None or other is None:  # sympy evaluates a text that it is given as Python
        return False
    with contextlib.suppress(Exception):
        if sympy.simplify(one - other) == 0:
            return True
    with contextlib.suppress(Exception):
        return math.isclose(sympy.N(one), sympy.N(other), rel_tol=1e-3)
    return False


def _formula(text: str) -> Any:
    """A text read as LaTeX, else as an expression of Python; None if it is neither."""
    from sympy.parsing.latex import parse_latex

    readers: tuple[Callable[[str], Any], ...] = (parse_latex, expression)
    for read in readers:
        with contextlib.suppress(Exception):
            return read(text)
    return None


def expression(text: str) -> Any:
    """What Python's syntax says of a formula, with nothing evaluated.

    Raises:
        ValueError, SyntaxError: it holds something else than numbers, letters, + - * / ** and ``_FUNCTIONS``.
    """
    return _built(ast.parse(text, mode="eval").body)


_FUNCTIONS = ("sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "log", "exp", "factorial", "Rational")
_CONSTANTS = ("pi", "E", "I", "oo")


def _built(node: ast.expr) -> Any:
    import sympy

    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return sympy.Integer(value) if isinstance(value, int) else sympy.Float(value)
        case ast.Name(id=name):
            return getattr(sympy, name) if name in _CONSTANTS else sympy.Symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_built(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _built(operand)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return _OPERATORS[type(operator)](_built(left), _built(right))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return getattr(sympy, name)(*map(_built, arguments))
    raise ValueError(f"{type(node).__name__} is no part of a formula")


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}


# ----------------------------------------------------------------------------------------- normal form


def normal(text: str) -> str:
    """An answer without units, spaces and ways of writing (``strip_string`` of ToRA, rule by rule)."""
    text = text.strip().replace("\n", "").rstrip(".")
    for old, new in _PLAIN:
        text = text.replace(old, new)
    without_unit = re.sub(r"\\text{.*?}$", "", text).strip()
    text = without_unit or text
    for old, new in _MARKS:
        text = text.replace(old, new)
    if "\\infty" not in text:
        text = text.replace("inf", "\\infty")
    text = text.replace("+\\inity", "\\infty").replace("and", "").replace("\\mathbf", "")
    text = re.sub(r"\\mbox{.*?}", "", text)
    if "j" in text and "i" not in text:
        text = text.replace("j", "i")
    text = re.sub(r"(\d+)\.0+([^\d])", r"\1\2", text)
    text = re.sub(r"(\d+)\.0+$", r"\1", text)
    if not text:
        return text
    text = f"0{text}" if text[0] == "." else text
    sides = text.split("=")
    if len(sides) == 2 and len(sides[0]) <= 2:
        text = sides[1]
    text = re.sub(r"\\sqrt(\w+)", r"\\sqrt{\1}", text).replace(" ", "")
    return _slash(_fractions(text))


_PLAIN = (
    ("\\!", ""),
    ("\\ ", ""),
    ("\\\\", "\\"),
    ("\\\\", "\\"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    ("\\left", ""),
    ("\\right", ""),
)
_MARKS = (
    ("^{\\circ}", ""),
    ("^\\circ", ""),
    ("\\$", ""),
    ("$", ""),
    ("\\text", ""),
    ("x\\in", ""),
    ("\\%", ""),
    ("%", ""),
    (" .", " 0."),
    ("{.", "{0."),
    ("\\cdot", ""),
    ("infinity", "\\infty"),
)


def _fractions(text: str) -> str:
    r"""``\frac12`` becomes ``\frac{1}{2}``, ``\frac1{72}`` becomes ``\frac{1}{72}``."""
    head, *parts = text.split("\\frac")
    found = [head]
    for part in parts:
        if part[:1] != "{":
            if len(part) < 2:
                return text
            numerator, rest = part[0], part[1:]
            part = f"{{{numerator}}}" + (rest if rest[0] == "{" else f"{{{rest[0]}}}{rest[1:]}")
        found.append(part)
    return "\\frac".join(found)


def _slash(text: str) -> str:
    r"""``1/2`` becomes ``\frac{1}{2}`` if both sides are integers or roots."""
    sides = text.split("/")
    if len(sides) != 2:
        return text
    try:
        written = [side if "sqrt" in side else str(int(side)) for side in sides]
    except ValueError:
        return text
    return f"\\frac{{{written[0]}}}{{{written[1]}}}" if "/".join(written) == text else text
