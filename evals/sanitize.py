"""What EvalPlus keeps of a model's program (evalplus 0.3.1, ``sanitize.py``): the longest run of lines that
parses, and of that the imports and the definitions that the asked function reaches.

Its habits are kept, since its published numbers have them: a function without ``return`` goes, a decorated
one goes, and only the first definition of a name stays.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping

LARGEST = 32_768
"""Characters looked at; a longer text stays as it is.  768 tokens, EvalPlus's own limit, have some 3,000."""
PARSES = 3_000
"""Tries to parse; EvalPlus sets none, and its search takes the square of the number of lines."""


def sanitize(code: str, entry_point: str) -> str:
    """The part of a program that EvalPlus judges."""
    if len(code) > LARGEST:
        return code
    longest = _longest_that_parses(code.split("\n"))
    kept = _reached(longest, entry_point).strip()
    return kept or longest


def _longest_that_parses(lines: list[str]) -> str:
    """The first of the runs of lines that parse with the most lines that are not blank; else one line."""
    full = [0]
    for line in lines:
        full.append(full[-1] + bool(line.strip()))
    best, most, parses = (0, 1), 0, 0
    for begin in range(len(lines)):
        for end in range(len(lines), begin, -1):
            if full[end] - full[begin] <= most or parses >= PARSES:
                break
            parses += 1
            if _parsed("\n".join(lines[begin:end])) is not None:
                best, most = (begin, end), full[end] - full[begin]
                break
    return "\n".join(lines[best[0] : best[1]])


def _parsed(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _reached(code: str, entry_point: str) -> str:
    """Imports first, then the definitions that the entry point needs, in their order."""
    tree = _parsed(code)
    if tree is None:
        return ""
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    defined = dict(_definitions(tree))
    needed = _closure(entry_point, {name: set(_words(node)) for name, node in defined.items()})
    kept = [*imports, *(node for name, node in defined.items() if name in needed)]
    return "\n".join(ast.get_source_segment(code, node) or "" for node in kept)


def _definitions(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """The first definition of each name at the top of a program."""
    seen: set[str] = set()
    for node in tree.body:
        name = _defined(node)
        if name is not None and name not in seen:
            seen.add(name)
            yield name, node


def _defined(node: ast.stmt) -> str | None:
    if isinstance(node, ast.ClassDef):
        return None if node.decorator_list else node.name
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        returns = any(isinstance(inner, ast.Return) for inner in ast.walk(node))
        return node.name if returns and not node.decorator_list else None
    targets = node.targets[:1] if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return targets[0].id if targets and isinstance(targets[0], ast.Name) else None


def _words(node: ast.AST) -> Iterator[str]:
    """Every identifier in a definition, attributes and parameters too."""
    for inner in ast.walk(node):
        for field in ("id", "attr", "arg", "name"):
            word = getattr(inner, field, None)
            if isinstance(word, str):
                yield word


def _closure(start: str, words: Mapping[str, set[str]]) -> set[str]:
    found, left = {start}, [start]
    while left:
        new = words.get(left.pop(), set()) - found
        found |= new
        left += new
    return found
