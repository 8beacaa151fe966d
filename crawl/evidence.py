"""Which licence each file of a repo is under, and all that says so.

What a file says of itself goes first: an SPDX tag or licence words in its header, a ``.license`` file
beside it, or what REUSE's ``REUSE.toml`` and ``.reuse/dep5`` say of its path.  Else the nearest directory
speaks that holds a licence file or a package manifest; at the root, the list or the registry as well.

Where those of one place disagree there is no winner: the state is ``conflict`` and the licence is all of them
joined by AND, which a policy allows only if it allows each.  Nothing stated is ``none``, which is never fine.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import re2

from crawl import licenses, manifests

MAX_GLOBS = 1000
MAX_GLOB = 400
"""Globs of a repo's REUSE files, and characters of one; a hostile one could hold millions."""


class Evidence(NamedTuple):
    """One thing that says what a file is under."""

    source: str
    """header, sidecar, reuse, file, manifest or list."""
    where: str
    """Path of what says it; "" for the list."""
    license: str
    """SPDX expression."""


class Verdict(NamedTuple):
    """What a file is under."""

    license: str | None
    state: str
    """stated (by or for the file itself), inherited (from a directory or the list), conflict, none."""
    evidence: tuple[Evidence, ...]


@dataclass
class Gathered:
    """What a repo says outside of its source files."""

    directories: dict[str, list[Evidence]] = field(default_factory=lambda: defaultdict(list))
    sidecars: dict[str, Evidence] = field(default_factory=dict)
    globs: list[tuple[re2._Regexp, Evidence]] = field(default_factory=list)


def is_evidence(path: str) -> bool:
    """Whether a file is read for what it says about the licence of others."""
    special = path.endswith((".license", "REUSE.toml", ".reuse/dep5"))
    return special or licenses.is_license_file(path) or manifests.is_manifest(path)


def gather(texts: Mapping[str, str], listed: str | None) -> Gathered:
    """What the licence files, manifests and REUSE files of a repo say.

    Args:
        texts: By path below the root.
        listed: What the list or the registry states of the repo.
    """
    found = Gathered()
    if listed is not None:
        found.directories["."].append(Evidence("list", "", listed))
    for path, text in sorted(texts.items()):
        pure = PurePosixPath(path)
        if path.endswith(".license"):
            if tag := licenses.of_header(text):
                found.sidecars[path.removesuffix(".license")] = Evidence("sidecar", path, tag)
        elif pure.name == "REUSE.toml":
            found.globs += _of_reuse(pure, text)
        elif path.endswith(".reuse/dep5"):
            found.globs += _of_dep5(pure, text)
        elif manifests.is_manifest(path):
            if stated := manifests.of(path, text):
                found.directories[str(pure.parent)].append(Evidence("manifest", path, stated))
        # LICENSES/ holds the texts of what tags name, and says nothing about any file (REUSE 3.3).
        elif pure.parent.name != "LICENSES" and (license_ := licenses.of_file(text)):
            found.directories[str(pure.parent)].append(Evidence("file", path, license_))
    del found.globs[MAX_GLOBS:]
    return found


def of(path: str, text: str, gathered: Gathered) -> Verdict:
    """What one file is under."""
    if header := licenses.of_header(text):
        return Verdict(header, "stated", (Evidence("header", path, header),))
    own = gathered.sidecars.get(path)
    own = own or next((said for glob, said in reversed(gathered.globs) if glob.fullmatch(path)), None)
    if own is not None:
        return Verdict(own.license, "stated", (own,))
    for parent in PurePosixPath(path).parents:
        if said := gathered.directories.get(str(parent)):
            return _agreed(said)
    return Verdict(None, "none", ())


def _agreed(said: Sequence[Evidence]) -> Verdict:
    """One licence out of what one place says, or a conflict.

    Files of one directory bind together (a LICENSE and a NOTICE of what is bundled).  Of the list, the
    manifests and the files the first counts, for it was written to be read by machines and knows OR from
    AND; the others agree with it if they name no licence that it does not.
    """
    by_source = {
        source: sorted({one.license for one in said if one.source == source})
        for source in ("list", "manifest", "file")
    }
    stated = [licenses.both(found) for found in by_source.values() if found]
    names = [licenses.names(expression) for expression in stated]
    if set().union(*names) == names[0]:
        return Verdict(stated[0], "inherited", tuple(said))
    return Verdict(licenses.both(stated), "conflict", tuple(said))


def _of_reuse(path: PurePosixPath, text: str) -> list[tuple[re2._Regexp, Evidence]]:
    """The annotations of a REUSE.toml, whose globs are below its own directory."""
    try:
        annotations: list[dict[str, Any]] = tomllib.loads(text).get("annotations", [])
        rows = [(one["path"], one["SPDX-License-Identifier"]) for one in annotations[:MAX_GLOBS]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # whatever a hostile one holds
        return []
    below = "" if str(path.parent) == "." else f"{path.parent}/"
    return [
        (_glob(below + glob, {"**": ".*", "*": "[^/]*"}), Evidence("reuse", str(path), license_))
        for globs, license_ in rows
        for glob in (globs if isinstance(globs, list) else [globs])
        if isinstance(glob, str) and isinstance(license_, str) and len(glob) <= MAX_GLOB
    ]


def _of_dep5(path: PurePosixPath, text: str) -> list[tuple[re2._Regexp, Evidence]]:
    """The paragraphs of Debian's copyright format: ``Files:`` and ``License:``; the last match counts."""
    found = []
    for paragraph in re.split(r"\n[ \t]*\n", text):
        files = re.search(r"(?m)^Files:((?:[^\n]*\n?)(?:[ \t][^\n]*\n?)*)", paragraph)
        license_ = re.search(r"(?m)^License:[ \t]*([^\n]{1,200})", paragraph)
        if files and license_ and (name := manifests.spdx(license_[1])):
            said = Evidence("reuse", str(path), name)
            globs = [glob for glob in files[1].split()[:MAX_GLOBS] if len(glob) <= MAX_GLOB]
            found += [(_glob(glob, {"*": ".*", "?": "."}), said) for glob in globs]
    return found


def _glob(glob: str, wild: Mapping[str, str]) -> re2._Regexp:
    """A glob as RE2, which takes linear time whatever it holds."""
    parts = re.split(r"(\*\*|\*|\?)" if "?" in wild else r"(\*\*|\*)", glob)
    return re2.compile("".join(wild.get(part, re2.escape(part)) if part else "" for part in parts))
