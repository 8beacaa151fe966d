"""Rust: ``mod`` declarations, ``use`` paths, and the crates of a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from posixpath import basename, dirname

from crawl.imports.find import Grammar
from crawl.imports.place import Resolve, Source, below, each, up

_QUERY = """
(mod_item name: (identifier) @near !body)
(use_declaration argument: (_) @tree)
"""

GRAMMARS = {"rust": Grammar(_QUERY)}


def resolver(sources: Sequence[Source]) -> Resolve:
    """``./a`` is ``mod a;``; ``crate::``, ``self::`` and ``super::`` paths; crates of the workspace."""
    paths = {source.path for source in sources}
    roots = {dirname(path) for path in paths if basename(path) in ("lib.rs", "main.rs")}
    crates = {basename(dirname(root)).replace("-", "_"): root for root in sorted(roots)}

    def file_of(module: str, top: str) -> str | None:
        tries = [f"{module}.rs", f"{module}/mod.rs"]
        if module == top:
            tries = [below(top, "lib.rs"), below(top, "main.rs")]
        return next((path for path in tries if path in paths), None)

    def deepest(top: str, base: str, names: list[str]) -> str | None:
        for count in range(len(names), -1, -1):
            module = "/".join(filter(None, [base, *names[:count]]))
            if found := file_of(module, top):
                return found
        return None

    def one(importer: str, target: str) -> str | None:
        top = next((folder for folder in up(dirname(importer)) if folder in roots), dirname(importer))
        own = importer.removesuffix(".rs")
        if basename(own) in ("mod", "lib", "main"):
            own = dirname(own)
        if target.startswith("./"):
            return file_of(below(own, target[2:]), top)
        first, *names = target.split("::")
        while first == "super" and names[:1] == ["super"]:
            own, names = dirname(own), names[1:]
        if first in ("crate", "self", "super"):
            base = {"crate": top, "self": own, "super": dirname(own)}[first]
            return deepest(top, base, names)
        return deepest(crates[first], crates[first], names) if first in crates else None

    return each(one)
