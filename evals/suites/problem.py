"""One problem of a suite: a row of the table of problems."""

from __future__ import annotations

from dataclasses import dataclass

IMPORTS = """\
import math
import re
import sys
import copy
import datetime
import itertools
import collections
import heapq
import functools
import hashlib
import numpy
import numpy as np
import string
from typing import *
from collections import *
"""
"""What DeepSeek's harness puts before every Python program (Evaluation/HumanEval/human_eval/evaluation.py
and MBPP/human_eval/evaluation.py of its repository)."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The columns of ``problems``, see ``docs/contract.md``.

    A program is ``header``, a completion, ``test``, in this order.
    """

    suite: str
    problem: str
    language: str = "python"
    prompt: str
    """What the model is given, to the character."""
    suffix: str | None = None
    header: str
    """What stands before the completion in the program."""
    test: str
    """What stands after it."""
    entry_point: str | None
    stop: list[str]
    """Strings that end a completion; it is cut before the first of them."""
    reference: str | None
    """A completion that passes."""
    text: str
    """All that must not be in the training data."""
