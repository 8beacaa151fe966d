"""JavaScript and TypeScript: specifiers that begin with a dot.

Not covered: the paths of a tsconfig, and packages of a workspace by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from posixpath import dirname, splitext

from crawl.imports.find import Grammar
from crawl.imports.place import Resolve, Source, each, join

_JAVASCRIPT = """
(import_statement source: (string (string_fragment) @target))
(export_statement source: (string (string_fragment) @target))
(call_expression function: (import) arguments: (arguments . (string (string_fragment) @target)))
((call_expression function: (identifier) @_function
                  arguments: (arguments . (string (string_fragment) @target)))
 (#eq? @_function "require"))
"""

_TYPESCRIPT = _JAVASCRIPT + "(import_require_clause source: (string (string_fragment) @target))"

GRAMMARS = {
    "javascript": Grammar(_JAVASCRIPT),
    "typescript": Grammar(_TYPESCRIPT),
    "tsx": Grammar(_TYPESCRIPT),
}

_SCRIPTS = (".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts")


def resolver(sources: Sequence[Source]) -> Resolve:
    """Relative specifiers: the file, with an extension, or the index of a directory."""
    paths = {source.path for source in sources}

    def one(importer: str, target: str) -> str | None:
        if not target.startswith("."):
            return None
        path = join(dirname(importer), target)
        if path is None:
            return None
        stem, ending = splitext(path)
        tries = [path, *(path + script for script in _SCRIPTS)]
        if ending in (".js", ".jsx", ".mjs", ".cjs"):  # TypeScript names the file it will become
            tries += [stem + script for script in _SCRIPTS[:2]]
        tries += [f"{path}/index{script}".lstrip("/") for script in _SCRIPTS]
        return next((found for found in tries if found in paths), None)

    return each(one)
