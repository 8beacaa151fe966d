"""Go: an import names a package, which is all files of a directory.

Not covered: modules below the root of a repository.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from posixpath import dirname

from crawl.imports.find import Grammar
from crawl.imports.place import MAX_NAMESPACE, Resolve, Source

_QUERY = "(import_spec path: (interpreted_string_literal (interpreted_string_literal_content) @target))"

GRAMMARS = {"go": Grammar(_QUERY)}


def resolver(sources: Sequence[Source]) -> Resolve:
    """All files of the package's directory; the module's own name is the prefix that fits most imports."""
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for source in sources:
        if not source.path.endswith("_test.go"):
            folders[dirname(source.path)].append(source.path)
    prefix = _module({target for source in sources for target in source.imports}, folders)

    def resolve(source: Source) -> Iterator[str]:
        for target in source.imports:
            if prefix is not None and (target + "/").startswith(prefix + "/"):
                members = folders.get(target[len(prefix) + 1 :], [])
                yield from members if len(members) <= MAX_NAMESPACE else ()

    return resolve


def _module(targets: set[str], folders: dict[str, list[str]]) -> str | None:
    votes: Counter[str] = Counter()
    for target in targets:
        parts = target.split("/")
        if "." in parts[0]:
            votes.update("/".join(parts[:i]) for i in range(1, len(parts)) if "/".join(parts[i:]) in folders)
    best = sorted(votes, key=lambda prefix: (-votes[prefix], len(prefix), prefix))
    # One fitting import may be another project's package that happens to be called like a directory.
    return best[0] if best and (votes[best[0]] > 1 or len(best) > 1) else None
