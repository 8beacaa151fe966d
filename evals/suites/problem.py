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

    A program is ``header``, an answer, ``test``, in this order; the answer is what ``extract`` finds in a
    completion.
    """

    suite: str
    problem: str
    language: str = "python"
    """python, or a key of ``evals/runtimes.py``."""
    prompt: str
    """What the model is given, to the character; the prefix where there is a suffix."""
    chat: bool = False
    """The prompt is a user's turn, for the model's chat template."""
    suffix: str | None = None
    """What follows the gap that the model fills (fill-in-the-middle)."""
    header: str = ""
    """What stands before the answer in the program."""
    test: str = ""
    """What stands after it."""
    entry_point: str | None = None
    stop: list[str]
    """Strings that end a completion; it is cut before the first of them."""
    extract: str = "whole"
    """How the answer is found in a completion: a key of ``evals/extract.py``."""
    max_new_tokens: int = 500
    """Longest completion, as published."""
    seconds: float = 10.0
    """Limit of one program, as published."""
    reference: str | None
    """An answer that passes."""
    text: str
    """All that must not be in the training data."""
