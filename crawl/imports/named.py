"""Languages whose imports name a class, function or package: Java, Kotlin and Scala; C#; PHP.

What a file *defines* stands in the package or namespace that it *declares*.  An import of a name means the
file that defines it; an import of a whole package, and the file's own package, mean those of its files that
define something which the importer mentions.  So two classes of one package that use one another are found
although nothing imports them, and ``using N`` is no edge to a hundred files of which one is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from posixpath import basename, dirname, splitext

from crawl.imports.find import Grammar
from crawl.imports.place import Index, Resolve, Resolver, Source, join

_JAVA = """
(package_declaration [(identifier) (scoped_identifier)] @declares)
(import_declaration (scoped_identifier) @target)
(program [
  (class_declaration name: (identifier) @defines)
  (interface_declaration name: (identifier) @defines)
  (enum_declaration name: (identifier) @defines)
  (record_declaration name: (identifier) @defines)
  (annotation_type_declaration name: (identifier) @defines)])
"""
_JAVA_MENTIONS = """
(type_identifier) @mention
(marker_annotation name: (identifier) @mention)
(annotation name: (identifier) @mention)
(method_invocation object: (identifier) @mention)
(field_access object: (identifier) @mention)
"""

_KOTLIN = """
(package_header (identifier) @declares)
(import_header (identifier) @target)
(source_file [
  (class_declaration (type_identifier) @defines)
  (object_declaration (type_identifier) @defines)
  (type_alias (type_identifier) @defines)
  (function_declaration (simple_identifier) @defines)
  (property_declaration (variable_declaration (simple_identifier) @defines))])
"""
_KOTLIN_MENTIONS = """
(user_type (type_identifier) @mention)
(call_expression . (simple_identifier) @mention)
(navigation_expression . (simple_identifier) @mention)
"""

_SCALA = """
(package_clause name: (package_identifier) @declares)
(import_declaration) @tree
(_ [(class_definition name: (identifier) @defines)
    (object_definition name: (identifier) @defines)
    (trait_definition name: (identifier) @defines)
    (enum_definition name: (identifier) @defines)])
"""
_SCALA_MENTIONS = """
(type_identifier) @mention
(call_expression function: (identifier) @mention)
(field_expression value: (identifier) @mention)
"""

_CSHARP = """
(using_directive (qualified_name) @target)
(using_directive !name (identifier) @target)
(namespace_declaration name: (_) @declares)
(file_scoped_namespace_declaration name: (_) @declares)
(class_declaration name: (identifier) @defines)
(interface_declaration name: (identifier) @defines)
(struct_declaration name: (identifier) @defines)
(enum_declaration name: (identifier) @defines)
(record_declaration name: (identifier) @defines)
(delegate_declaration name: (identifier) @defines)
"""

_PHP = """
(namespace_definition name: (namespace_name) @declares)
(namespace_use_declaration (namespace_use_clause (qualified_name) @target))
(namespace_use_declaration (namespace_name) @module
                           body: (namespace_use_group (namespace_use_clause . (_) @name)))
(require_expression (_ (string_content) @near))
(require_once_expression (_ (string_content) @near))
(include_expression (_ (string_content) @near))
(include_once_expression (_ (string_content) @near))
(require_expression (binary_expression right: (_ (string_content) @near)))
(require_once_expression (binary_expression right: (_ (string_content) @near)))
(include_expression (binary_expression right: (_ (string_content) @near)))
(include_once_expression (binary_expression right: (_ (string_content) @near)))
(class_declaration name: (name) @defines)
(interface_declaration name: (name) @defines)
(trait_declaration name: (name) @defines)
(enum_declaration name: (name) @defines)
"""
_PHP_MENTIONS = """
(named_type (name) @mention)
(base_clause (name) @mention)
(class_interface_clause (name) @mention)
(use_declaration (name) @mention)
(object_creation_expression (name) @mention)
(scoped_call_expression scope: (name) @mention)
(class_constant_access_expression . (name) @mention)
"""

GRAMMARS = {
    "java": Grammar(_JAVA, mentions=_JAVA_MENTIONS),
    "kotlin": Grammar(_KOTLIN, mentions=_KOTLIN_MENTIONS),
    "scala": Grammar(_SCALA, mentions=_SCALA_MENTIONS),
    "csharp": Grammar(_CSHARP, mentions="(identifier) @mention"),
    "php": Grammar(_PHP, joint="\\", mentions=_PHP_MENTIONS),
}


def resolver(dot: str, *, outer: bool = False) -> Resolver:
    """Resolves names of packages joined by ``dot``.

    Args:
        outer: What an enclosing namespace defines can be seen without an import.
    """

    def build(sources: Sequence[Source]) -> Resolve:
        names, packages = _index(sources, dot)

        def resolve(source: Source) -> Iterator[str]:
            here = dirname(source.path)
            seen = _own(source.declares or "", dot, outer)
            for target in source.imports:
                target = target.lstrip("\\")
                tries = (target, target.rpartition(dot)[0])  # a static member stands in its class
                if found := next(filter(None, (names.nearest(name, here, tie=True) for name in tries)), None):
                    yield found
                elif target in packages:
                    seen.append(target)
            for mention in source.mentions:
                full = [f"{package}{dot}{mention}" if package else mention for package in seen]
                yield from filter(None, (names.nearest(name, here, tie=True) for name in full))

        return resolve

    return build


def _index(sources: Sequence[Source], dot: str) -> tuple[Index, set[str]]:
    """The files by the full names of what they define, and the packages that there are."""
    names = Index()
    for source in sources:
        for name in {*source.defines, splitext(basename(source.path))[0]}:
            names.add(f"{source.declares}{dot}{name}" if source.declares else name, source.path)
    return names, {source.declares for source in sources if source.declares}


def _own(package: str, dot: str, outer: bool) -> list[str]:
    """The packages whose names a file sees without an import, its own first."""
    parts = package.split(dot)
    return [dot.join(parts[:count]) for count in range(len(parts), 0, -1)] if outer else [package]


def php(sources: Sequence[Source]) -> Resolve:
    """Classes by namespace, and files that are required by a path relative to the file."""
    paths = {source.path for source in sources}
    classes = resolver("\\")(sources)

    def resolve(source: Source) -> Iterator[str]:
        near = [target for target in source.imports if target.startswith("./")]
        found = (join(dirname(source.path), target) for target in near)
        yield from (path for path in found if path in paths)
        yield from classes(source._replace(imports=[name for name in source.imports if name not in near]))

    return resolve
