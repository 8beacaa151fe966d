"""Languages where a file is a module with a name, wherever it lies: by what it says it is called.

Haskell, Elixir, Erlang, OCaml, VHDL and Verilog.  An import or a mention means the file that declares or
defines that name; OCaml's modules are called like their files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from posixpath import basename, dirname, splitext

from crawl.imports.find import Grammar
from crawl.imports.place import Index, Resolve, Source, by_endings, join

_HASKELL = """
(header module: (module) @declares)
(import module: (module) @target)
"""

_ELIXIR = """
((call target: (identifier) @_kind (arguments . (alias) @defines))
 (#any-of? @_kind "defmodule" "defprotocol"))
((call target: (identifier) @_kind (arguments . (dot right: (tuple)) @tree))
 (#any-of? @_kind "alias" "import" "require" "use"))
"""

_ERLANG = """
(module_attribute name: (atom) @declares)
(pp_include file: (string) @target)
(pp_include_lib file: (string) @target)
"""
_ERLANG_MENTIONS = """
(import_attribute module: (atom) @mention)
(remote_module module: (atom) @mention)
(behaviour_attribute name: (atom) @mention)
"""

_VERILOG = """
(include_compiler_directive (double_quoted_string) @target)
(module_header (simple_identifier) @defines)
(package_declaration (package_identifier) @defines)
"""
_VERILOG_MENTIONS = """
(module_instantiation . (simple_identifier) @mention)
(package_import_item (package_identifier) @mention)
"""

_VHDL = """
(entity_declaration name: (identifier) @defines)
(package_declaration name: (identifier) @defines)
"""
_VHDL_MENTIONS = """
(use_clause (selected_name prefix: (selected_name suffix: (simple_name) @mention)))
(entity_instantiation entity: (selected_name suffix: (simple_name) @mention))
(component_instantiation component: (simple_name) @mention)
(architecture_body entity: (simple_name) @mention)
"""

GRAMMARS = {
    "haskell": Grammar(_HASKELL),
    "elixir": Grammar(_ELIXIR, mentions="(alias) @mention"),
    "erlang": Grammar(_ERLANG, mentions=_ERLANG_MENTIONS),
    "ocaml": Grammar("", mentions="(module_path . (module_name) @mention)"),
    "verilog": Grammar(_VERILOG, mentions=_VERILOG_MENTIONS),
    "vhdl": Grammar(_VHDL, mentions=_VHDL_MENTIONS),
}


def resolver(sources: Sequence[Source]) -> Resolve:
    """Names that files declare or define, and included files by their paths."""
    names = Index()
    for source in sources:
        for name in {*source.defines, source.declares or ""}:
            names.add(_folded(name, source), source.path)
    paths = {source.path for source in sources}
    endings = by_endings(paths)

    def resolve(source: Source) -> Iterator[str]:
        here = dirname(source.path)
        for target in source.imports:
            beside = join(here, target)
            found = beside if beside in paths else endings.nearest(target, here)
            yield from filter(None, [found or names.nearest(target, here)])
        known = (names.nearest(_folded(name, source), here) for name in source.mentions)
        yield from filter(None, known)

    return resolve


def ocaml(sources: Sequence[Source]) -> Resolve:
    """``Foo`` is foo.ml, or foo.mli where there is no other."""
    names = Index()
    for source in sources:
        stem = splitext(basename(source.path))[0]
        names.add(stem[:1].upper() + stem[1:], source.path)

    def resolve(source: Source) -> Iterator[str]:
        here = dirname(source.path)
        yield from filter(None, (names.nearest(name, here, tie=True) for name in source.mentions))

    return resolve


def _folded(name: str, source: Source) -> str:
    return name.lower() if source.language == "vhdl" else name
