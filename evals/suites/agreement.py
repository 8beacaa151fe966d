"""When an output counts as the expected one (EvalPlus 0.3.1, evalplus/eval/__init__.py).

The text of this file runs on the test's side of a sandbox, before the test, so it imports nothing of ours.
There the reference computes what is expected; the program under test only hands over plain data.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

SETS = {
    "similar_elements",
    "find_char_long",
    "common_in_nested_lists",
    "extract_singly",
    "larg_nnum",
    "intersection_array",
    "find_dissimilar",
    "Diff",
}
"""Functions of MBPP whose output has no order."""

PRESENCE = {"check_str", "text_match_three", "text_starta_endb"}
"""Functions of MBPP that return a match or None: only which of the two counts."""


def compare_with_reference(
    program: Callable[..., Any],
    reference: Callable[..., Any],
    inputs: Iterable[Any],
    *,
    name: str,
    atol: float,
    mbpp: bool,
) -> None:
    """Raise ``AssertionError`` at the first input for which the program does not agree with the reference.

    Args:
        name: The function's, for which there may be a rule of its own.
        atol: Absolute tolerance between floats, 0 where none was set.
        mbpp: Whether MBPP's rules hold, or HumanEval's.
    """
    for number, given in enumerate(inputs):
        expected = reference(*copy.deepcopy(given))
        output = program(*copy.deepcopy(given))
        if atol == 0 and is_floats(expected):
            atol = 1e-6  # and it stays so for all later inputs, as published
        agreed = agree_by_name(name, given, output, expected, atol, mbpp=mbpp)
        if agreed is None:
            agreed = agree(output, expected, atol)
        assert agreed, f"input {number}: {name}{tuple(given)!r}"[:300]


def agree(output: Any, expected: Any, atol: float) -> bool:
    """Equal, or of the same type and shape and as near as numpy's ``allclose`` asks."""
    if bool(output == expected):
        return True
    if atol == 0 or type(output) is not type(expected):
        return False
    if isinstance(expected, list | tuple) and len(output) != len(expected):
        return False
    return bool(np.allclose(output, expected, rtol=1e-07, atol=atol))


def is_floats(value: object) -> bool:
    """A float, or a list or tuple of nothing else."""
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(part, float) for part in value)
    return isinstance(value, float)


def agree_by_name(
    name: str, given: Any, output: Any, expected: Any, atol: float, *, mbpp: bool
) -> bool | None:
    """What the rule for this one function says; None where it leaves the decision to the general one."""
    if not mbpp:
        return abs(_polynomial(given[0], output)) <= atol if name == "find_zero" else None
    if name == "are_equivalent":
        return True
    if name in SETS:
        return set(output) == set(expected)
    if name in PRESENCE:
        present = output if isinstance(output, bool) else output is not None
        return bool(present == (expected is not None))
    if name == "sum_div" and type(output) is int and output == 0:
        return True
    if name == "surface_Area" and abs(output - _surface(*given)) <= atol:
        return True
    if name == "digit_distance_nums" and output == _digit_distance(*given):
        return True
    return None


def _polynomial(coefficients: list[float], x: float) -> float:
    return sum(coefficient * math.pow(x, power) for power, coefficient in enumerate(coefficients))


def _surface(base_edge: float, height: float) -> int:
    """Of a square pyramid, rounded; the height is the one from base to apex."""
    slant = math.sqrt((base_edge / 2) ** 2 + height**2)
    return round(base_edge**2 + 2 * base_edge * slant)


def _digit_distance(first: int, second: int) -> int:
    """Sum of the differences digit by digit, the shorter number filled with zeros."""
    width = max(len(str(first)), len(str(second)))
    pairs = zip(str(first).zfill(width), str(second).zfill(width), strict=True)
    return sum(abs(int(one) - int(other)) for one, other in pairs)
