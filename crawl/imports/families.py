"""The languages whose imports we can follow, by family: the files of one may import one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from crawl.imports import go, javascript, named, paths, python, rust, units
from crawl.imports.place import Resolver, Source


class Family(NamedTuple):
    """Languages that import one another."""

    languages: tuple[str, ...]
    resolver: Resolver


FAMILIES = (
    Family(("python",), python.resolver),
    Family(("javascript", "typescript"), javascript.resolver),
    Family(("c", "cpp", "cuda"), paths.c),
    Family(("java", "kotlin", "scala"), named.resolver(".")),
    Family(("c-sharp",), named.resolver(".", outer=True)),
    Family(("php",), named.php),
    Family(("go",), go.resolver),
    Family(("rust",), rust.resolver),
    Family(("ruby",), paths.ruby),
    Family(("dart",), paths.resolver(paths.dart)),
    Family(("lua",), paths.resolver(paths.lua)),
    Family(("perl",), paths.resolver(paths.perl)),
    Family(("julia",), paths.resolver()),
    Family(("haskell",), units.resolver),
    Family(("elixir",), units.resolver),
    Family(("erlang",), units.resolver),
    Family(("ocaml",), units.ocaml),
    Family(("solidity",), paths.resolver()),
    Family(("protocol-buffer",), paths.resolver()),
    Family(("thrift",), paths.resolver()),
    Family(("verilog", "systemverilog"), units.resolver),
    Family(("vhdl",), units.resolver),
    Family(("cmake",), paths.resolver(paths.cmake)),
    Family(("shell",), paths.resolver()),
    Family(("tex",), paths.resolver(paths.tex)),
    Family(("r",), paths.resolver()),
    Family(("zig",), paths.resolver()),
)

FAMILY_OF = {language: family for family in FAMILIES for language in family.languages}

GRAMMARS = {
    name: grammar
    for module in (python, javascript, paths, named, go, rust, units)
    for name, grammar in module.GRAMMARS.items()
}
"""By the name of the tree-sitter grammar."""


def edges(sources: Sequence[Source]) -> list[tuple[str, str]]:
    """The imports inside one repo as sorted pairs (importer, imported); no file imports itself."""
    members: defaultdict[Family, list[Source]] = defaultdict(list)
    for source in sources:
        if family := FAMILY_OF.get(source.language):
            members[family].append(source)
    found: set[tuple[str, str]] = set()
    for family, files in members.items():
        resolve = family.resolver(sorted(files, key=lambda source: source.path))
        for source in files:
            found.update((source.path, path) for path in resolve(source))
    return sorted((importer, imported) for importer, imported in found if importer != imported)
