"""Python: relative and absolute imports, packages with and without ``__init__.py``, ``src`` layouts.

Not covered: Python 2's implicit relative imports (`import types` beside a ``types.py`` almost always means
the standard library).
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from posixpath import basename, dirname, splitext

from crawl.imports.find import Grammar
from crawl.imports.place import MAX_DEPTH, Index, Resolve, Source, below, each, shared, up

_QUERY = """
(import_statement name: (dotted_name) @target)
(import_statement name: (aliased_import name: (dotted_name) @target))
(import_from_statement module_name: (_) @module name: (dotted_name) @name)
(import_from_statement module_name: (_) @module name: (aliased_import name: (dotted_name) @name))
(import_from_statement module_name: (_) @target (wildcard_import))
"""

GRAMMARS = {"python": Grammar(_QUERY, joint=":")}


def resolver(sources: Sequence[Source]) -> Resolve:
    """``a.b`` or ``..a:name``, where name may be a submodule or something inside the module.

    An absolute name is looked up from every directory that is no package itself (so: the root, ``src``,
    a namespace).  Standard library names only count below a directory that a script could run in.
    """
    packages = {dirname(source.path) for source in sources if basename(source.path) == "__init__.py"}
    by_module: dict[str, str] = {}
    for source in sorted(sources, key=lambda source: _rank(source.path)):
        by_module.setdefault(splitext(source.path)[0].removesuffix("/__init__"), source.path)
    modules: defaultdict[str, dict[str, str]] = defaultdict(dict)
    anywhere = Index()
    for module, path in sorted(by_module.items()):
        parts = module.split("/")
        for cut in range(max(0, len(parts) - MAX_DEPTH), len(parts)):
            root, name = "/".join(parts[:cut]), ".".join(parts[cut:])
            if root not in packages:
                modules[name][root] = path
                if "." in name or basename(path) == "__init__.py":
                    anywhere.add(name, path)

    @cache
    def sides(here: str) -> frozenset[str]:
        return frozenset(below(folder, side) for folder in up(here) for side in ("src", "lib", "python"))

    @cache
    def absolute(here: str, name: str) -> str | None:
        roots = modules.get(name)
        if roots is None:
            return None
        found = [roots[folder] for folder in up(here) if folder in roots]
        if name.split(".")[0] not in sys.stdlib_module_names:
            found += [roots[side] for side in sides(here) if side in roots]
            found += filter(None, [anywhere.nearest(name, here, tie=True)])
        if len(found) < 2:
            return found[0] if found else None
        return min(found, key=lambda path: (-shared(here, path), path.count("/"), path))

    def relative(here: str, name: str) -> str | None:
        for _ in range(len(name) - len(name.lstrip(".")) - 1):
            if not here:
                return None
            here = dirname(here)
        return by_module.get("/".join(filter(None, [here, *name.lstrip(".").split(".")])))

    def one(importer: str, target: str) -> str | None:
        module, _, name = target.partition(":")
        look = relative if module.startswith(".") else absolute
        here = dirname(importer)
        submodule = module + name if module.endswith(".") else f"{module}.{name}"
        return (look(here, submodule) if name else None) or look(here, module)

    return each(one)


def _rank(path: str) -> tuple[int, str]:
    """Of a/__init__.py, a.py and a.pyi the first is the one that Python would run."""
    ranks = ("/__init__.py", ".py", "/__init__.pyi", ".pyi")
    return next((rank for rank, ending in enumerate(ranks) if path.endswith(ending)), len(ranks)), path
