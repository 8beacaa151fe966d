"""Which files of a repo an import means: one resolver per group of languages that import one another.

A resolver knows the paths of one repo and nothing else: no build files, no installed packages.  Where a
target could mean several files it takes the closest, and where that is a tie it takes none, because a
wrong edge misplaces a file and a missing one only leaves it where its name would put it.
Not covered: tsconfig paths and workspaces, Go modules below the root, Python 2's implicit relative
imports (`import types` beside a ``types.py`` almost always means the standard library).
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from posixpath import basename, dirname, normpath, splitext
from typing import NamedTuple


class Source(NamedTuple):
    """What a resolver needs to know of a file."""

    path: str
    language: str
    imports: Sequence[str]
    declares: str | None


MAX_NAMESPACE = 200
"""Files of one namespace or package: beyond it, importing it says nothing about which file is needed."""

MAX_DEPTH = 24
"""Names in an import; no one writes more, and a path of a thousand directories has a thousand endings."""

Resolve = Callable[[str, str], Iterable[str]]
"""(path of the importer, target) -> paths of the files that are meant."""


def edges(sources: Sequence[Source]) -> list[tuple[str, str]]:
    """The imports inside one repo as sorted pairs (importer, imported); no file imports itself."""
    groups: defaultdict[str, list[Source]] = defaultdict(list)
    for source in sources:
        if group := GROUPS.get(source.language):
            groups[group].append(source)
    found: set[tuple[str, str]] = set()
    for group, members in groups.items():
        resolve = RESOLVERS[group](sorted(members))
        for source in members:
            for target in source.imports:
                found.update((source.path, path) for path in resolve(source.path, target))
    return sorted((importer, imported) for importer, imported in found if importer != imported)


# ------------------------------------------------------------------------------------------- Python


def python(sources: Sequence[Source]) -> Resolve:
    """``a.b`` or ``..a:name``, where name may be a submodule or something inside the module.

    An absolute name is looked up from every directory that is no package itself (so: the root, ``src``,
    a namespace).  Standard library names only count below a directory that a script could run in.
    """
    packages = {dirname(source.path) for source in sources if basename(source.path) == "__init__.py"}
    by_module: dict[str, str] = {}
    for source in sorted(sources, key=lambda source: _python_rank(source.path)):
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
        return frozenset(_below(folder, side) for folder in _up(here) for side in ("src", "lib", "python"))

    @cache
    def absolute(here: str, name: str) -> str | None:
        roots = modules.get(name)
        if roots is None:
            return None
        found = [roots[folder] for folder in _up(here) if folder in roots]
        if name.split(".")[0] not in sys.stdlib_module_names:
            found += [roots[side] for side in sides(here) if side in roots]
            found += filter(None, [anywhere.nearest(name, here, tie=True)])
        if len(found) < 2:
            return found[0] if found else None
        return min(found, key=lambda path: (-_shared(here, path), path.count("/"), path))

    def relative(here: str, name: str) -> str | None:
        for _ in range(len(name) - len(name.lstrip(".")) - 1):
            if not here:
                return None
            here = dirname(here)
        return by_module.get("/".join(filter(None, [here, *name.lstrip(".").split(".")])))

    def resolve(importer: str, target: str) -> list[str]:
        module, _, name = target.partition(":")
        look = relative if module.startswith(".") else absolute
        here = dirname(importer)
        submodule = module + name if module.endswith(".") else f"{module}.{name}"
        found = (look(here, submodule) if name else None) or look(here, module)
        return [found] if found else []

    return resolve


def _python_rank(path: str) -> tuple[int, str]:
    """Of a/__init__.py, a.py and a.pyi the first is the one that Python would run."""
    ranks = ("/__init__.py", ".py", "/__init__.pyi", ".pyi")
    return next((rank for rank, ending in enumerate(ranks) if path.endswith(ending)), len(ranks)), path


# ------------------------------------------------------------------------- JavaScript and TypeScript

_SCRIPTS = (".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts")


def javascript(sources: Sequence[Source]) -> Resolve:
    """Relative specifiers: the file, with an extension, or the index of a directory."""
    paths = {source.path for source in sources}

    def resolve(importer: str, target: str) -> list[str]:
        if not target.startswith("."):
            return []
        path = _join(dirname(importer), target)
        if path is None:
            return []
        stem, ending = splitext(path)
        tries = [path, *(path + script for script in _SCRIPTS)]
        if ending in (".js", ".jsx", ".mjs", ".cjs"):  # TypeScript names the file it will become
            tries += [stem + script for script in _SCRIPTS[:2]]
        tries += [f"{path}/index{script}".lstrip("/") for script in _SCRIPTS]
        return [found for found in tries if found in paths][:1]

    return resolve


# ---------------------------------------------------------------------------------------- C and C++


def c(sources: Sequence[Source]) -> Resolve:
    """``a/b.h`` beside the file, else below any directory; ``<a/b.h>`` only with its directory."""
    paths = {source.path for source in sources}
    endings = Index()
    for path in paths:
        parts = path.split("/")
        for start in range(max(0, len(parts) - MAX_DEPTH), len(parts)):
            endings.add("/".join(parts[start:]), path)

    def resolve(importer: str, target: str) -> list[str]:
        name = target.strip("<>")
        if target.startswith("<") and "/" not in name:
            return []
        beside = _join(dirname(importer), name)
        if beside in paths and not target.startswith("<"):
            return [beside]
        found = endings.nearest(normpath(name).lstrip("./"), dirname(importer))
        return [found] if found else []

    return resolve


# ------------------------------------------------------------------------------- Java, C# and PHP


def java(sources: Sequence[Source]) -> Resolve:
    """A class by package and file name; ``x.y.*`` is all of the package; a static member its class."""
    return _namespaced(sources, ".")


def csharp(sources: Sequence[Source]) -> Resolve:
    """``using`` names a namespace: all files that declare it; or a class in one."""
    return _namespaced(sources, ".")


def php(sources: Sequence[Source]) -> Resolve:
    """A class by namespace and file name, as PSR-4 has it; or a path relative to the file."""
    paths = {source.path for source in sources}
    classes = _namespaced(sources, "\\")

    def resolve(importer: str, target: str) -> Iterable[str]:
        if not target.startswith("./"):
            return classes(importer, target.lstrip("\\"))
        path = _join(dirname(importer), target)
        return [path] if path in paths else []

    return resolve


def _namespaced(sources: Sequence[Source], dot: str) -> Resolve:
    classes = Index()
    spaces: defaultdict[str, list[str]] = defaultdict(list)
    for source in sources:
        if source.declares:
            classes.add(source.declares + dot + splitext(basename(source.path))[0], source.path)
            spaces[source.declares].append(source.path)

    def resolve(importer: str, target: str) -> list[str]:
        for name in (target, target.rpartition(dot)[0]):
            if found := classes.nearest(name, dirname(importer), tie=True):
                return [found]
        members = spaces.get(target, [])
        return members if len(members) <= MAX_NAMESPACE else []

    return resolve


# ---------------------------------------------------------------------------------------------- Go


def go(sources: Sequence[Source]) -> Resolve:
    """All files of the package's directory; the module's own name is the prefix that fits most imports."""
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for source in sources:
        if not source.path.endswith("_test.go"):
            folders[dirname(source.path)].append(source.path)
    prefix = _go_module({target for source in sources for target in source.imports}, folders)

    def resolve(importer: str, target: str) -> list[str]:
        if prefix is None or not (target + "/").startswith(prefix + "/"):
            return []
        members = folders.get(target[len(prefix) + 1 :], [])
        return members if len(members) <= MAX_NAMESPACE else []

    return resolve


def _go_module(targets: set[str], folders: dict[str, list[str]]) -> str | None:
    votes: Counter[str] = Counter()
    for target in targets:
        parts = target.split("/")
        if "." in parts[0]:
            votes.update("/".join(parts[:i]) for i in range(1, len(parts)) if "/".join(parts[i:]) in folders)
    best = sorted(votes, key=lambda prefix: (-votes[prefix], len(prefix), prefix))
    # One fitting import may be another project's package that happens to be called like a directory.
    return best[0] if best and (votes[best[0]] > 1 or len(best) > 1) else None


# -------------------------------------------------------------------------------------------- Rust


def rust(sources: Sequence[Source]) -> Resolve:
    """``./a`` is ``mod a;``; ``crate::``, ``self::`` and ``super::`` paths; crates of the workspace."""
    paths = {source.path for source in sources}
    roots = {dirname(path) for path in paths if basename(path) in ("lib.rs", "main.rs")}
    crates = {basename(dirname(root)).replace("-", "_"): root for root in sorted(roots)}

    def file_of(module: str, top: str) -> str | None:
        tries = [f"{module}.rs", f"{module}/mod.rs"]
        if module == top:
            tries = [_below(top, "lib.rs"), _below(top, "main.rs")]
        return next((path for path in tries if path in paths), None)

    def deepest(top: str, base: str, names: list[str]) -> list[str]:
        for count in range(len(names), -1, -1):
            module = "/".join(filter(None, [base, *names[:count]]))
            if found := file_of(module, top):
                return [found]
        return []

    def resolve(importer: str, target: str) -> list[str]:
        top = next((folder for folder in _up(dirname(importer)) if folder in roots), dirname(importer))
        own = importer.removesuffix(".rs")
        if basename(own) in ("mod", "lib", "main"):
            own = dirname(own)
        if target.startswith("./"):
            found = file_of(_below(own, target[2:]), top)
            return [found] if found else []
        first, *names = target.split("::")
        while first == "super" and names[:1] == ["super"]:
            own, names = dirname(own), names[1:]
        if first in ("crate", "self", "super"):
            base = {"crate": top, "self": own, "super": dirname(own)}[first]
            return deepest(top, base, names)
        return deepest(crates[first], crates[first], names) if first in crates else []

    return resolve


# -------------------------------------------------------------------------------------------- Ruby


def ruby(sources: Sequence[Source]) -> Resolve:
    """``./a`` is relative; others are looked up below the ``lib`` directories and the root."""
    paths = {source.path for source in sources}
    below = Index()
    for path in paths:
        below.add(path, path)
        for at, part in enumerate(parts := path.split("/")):
            if part == "lib":
                below.add("/".join(parts[at + 1 :]), path)

    def resolve(importer: str, target: str) -> list[str]:
        name = target.removesuffix(".rb") + ".rb"
        if target.startswith("./"):
            path = _join(dirname(importer), name)
            return [path] if path is not None and path in paths else []
        found = below.nearest(name, dirname(importer))
        return [found] if found else []

    return resolve


# ------------------------------------------------------------------------------------------ shared

GROUPS: dict[str, str] = {
    "python": "python",
    "javascript": "javascript",
    "typescript": "javascript",
    "c": "c",
    "cpp": "c",
    "cuda": "c",
    "java": "java",
    "c-sharp": "csharp",
    "php": "php",
    "go": "go",
    "rust": "rust",
    "ruby": "ruby",
}
"""The languages with dependency parsing, by language; the files of one group may import one another."""

RESOLVERS: dict[str, Callable[[Sequence[Source]], Resolve]] = {
    "python": python,
    "javascript": javascript,
    "c": c,
    "java": java,
    "csharp": csharp,
    "php": php,
    "go": go,
    "rust": rust,
    "ruby": ruby,
}


def _join(folder: str, target: str) -> str | None:
    """``folder/target`` without dots; None if that leaves the repo."""
    path = normpath(f"{folder}/{target}" if folder else target)
    if path == "." or path.startswith("/") or path.split("/")[0] == "..":
        return None
    return path


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


@lru_cache(maxsize=1 << 16)
def _up(folder: str) -> tuple[str, ...]:
    """The directory and all above it, the root ("") last."""
    parts = folder.split("/") if folder else []
    return (*("/".join(parts[:count]) for count in range(len(parts), 0, -1)), "")


def _shared(here: str, path: str) -> int:
    """How many directories above ``path`` are also at or above ``here``."""
    return sum(1 for folder in _up(dirname(path)) if folder == "" or f"{here}/".startswith(f"{folder}/"))


class Index:
    """Paths by the names they go by; of those that share a name, the nearest to the importer is meant.

    Every directory above a path knows how many of its namesakes lie below it and which is the first: so a
    thousand importers of a thousand namesakes cost no million comparisons.
    """

    def __init__(self) -> None:
        self.paths: defaultdict[str, list[str]] = defaultdict(list)
        self.below: dict[str, dict[str, tuple[int, str]]] = {}

    def add(self, name: str, path: str) -> None:
        self.paths[name].append(path)

    def nearest(self, name: str, here: str, *, tie: bool = False) -> str | None:
        """The path of that name that shares most leading directories with the directory ``here``.

        Args:
            tie: Take the first of several that are equally close, instead of none.
        """
        if name not in self.paths:
            return None
        if name not in self.below:
            self.below[name] = _below_each(self.paths[name])
        below = self.below[name]
        count, first = next(below[folder] for folder in _up(here) if folder in below)
        return first if tie or count == 1 else None


def _below_each(paths: Iterable[str]) -> dict[str, tuple[int, str]]:
    """For every directory above one of ``paths``: how many lie below it, and the first of them."""
    below: dict[str, tuple[int, str]] = {}
    for path in sorted(set(paths), key=lambda path: (path.count("/"), path)):
        for folder in _up(dirname(path)):
            count, first = below.get(folder, (0, path))
            below[folder] = (count + 1, first)
    return below
