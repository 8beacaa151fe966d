"""The licence that a package manifest states: pyproject.toml, package.json, Cargo.toml, pom.xml and others.

What is stated becomes an SPDX expression, or nothing where it is in no known form ("see LICENSE", a bare
"BSD").  A manifest speaks for its directory and what is below it, as a licence file does.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any


def is_manifest(path: str) -> bool:
    """Whether ``of`` reads a file of this path."""
    return _reader(path) is not None


def of(path: str, text: str) -> str | None:
    """The SPDX expression that a manifest states; None where it states none, or is broken.

    >>> of("pkg/package.json", '{"license": "(MIT OR Apache-2.0)"}')
    '(MIT OR Apache-2.0)'
    """
    reader = _reader(path)
    try:
        stated = list(reader(text)) if reader else []
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):  # whatever a hostile one holds
        return None
    named = sorted({name for one in stated if isinstance(one, str) and (name := spdx(one))})
    return " AND ".join(f"({name})" if " OR " in name and len(named) > 1 else name for name in named) or None


def spdx(stated: str) -> str | None:
    """An SPDX expression from what people write; None where it is ambiguous.

    >>> spdx("Apache License, Version 2.0"), spdx("MIT/Apache-2.0"), spdx("GPL (>= 2)"), spdx("BSD")
    ('Apache-2.0', 'MIT OR Apache-2.0', 'GPL-2.0-or-later', None)
    """
    stated = " ".join(stated.strip().strip("\"'").split())[:300]
    stated = re.sub(r" [+|] file LICEN[CS]E$", "", stated)  # R's form, where the file fills in the names
    if _EXPRESSION.fullmatch(stated) and not _BARE.fullmatch(stated):
        return stated
    if "/" in stated and _EXPRESSION.fullmatch(slashed := " OR ".join(re.split(r"\s*/\s*", stated))):
        return slashed  # Cargo's old form
    if " | " in stated or "," in stated.replace(", Version", " Version").replace(", version", " version"):
        parts = [spdx(part) for part in re.split(r"\s*[|]\s*|,\s+(?![Vv]ersion)", stated)]
        return " OR ".join(part for part in parts if part) if all(parts) and len(parts) > 1 else None
    return next((name for pattern, name in _NAMES if pattern.fullmatch(stated)), None) or _gnu(stated)


def _of_pyproject(text: str) -> Iterable[Any]:
    table = tomllib.loads(text)
    for project in (table.get("project", {}), table.get("tool", {}).get("poetry", {})):
        license_ = project.get("license")
        yield license_.get("text") if isinstance(license_, dict) else license_
        if license_ is None:
            yield from _of_classifiers("\n".join(project.get("classifiers", ())))


def _of_classifiers(text: str) -> Iterable[str]:
    """Python's trove classifiers, in setup.py, setup.cfg and metadata."""
    return re.findall(r"License :: (?:OSI Approved :: )?([^\n\"':]{2,100})", text)


def _of_metadata(text: str) -> Iterable[str]:
    """Headers of the form of e-mails: PKG-INFO, METADATA, DESCRIPTION of R."""
    head = text.split("\n\n", 1)[0]
    stated = re.findall(r"(?m)^License-Expression:[ \t]*(\S[^\n]{0,200})", head)
    stated = stated or re.findall(r"(?m)^License:[ \t]*(\S[^\n]{0,200})", head)
    return stated if any(map(spdx, stated)) else _of_classifiers(head)


def _of_setup(text: str) -> Iterable[str]:
    stated = re.findall(
        r"(?m)(?:^[ \t]*|[(,]\s*)license(?:_expression)?\s*=\s*[\"']?([^\"'\n,]{2,100})", text
    )
    return stated if any(map(spdx, stated)) else _of_classifiers(text)


def _of_json(text: str) -> Iterable[Any]:
    """npm's package.json, PHP's composer.json, Perl's META.json, bower.json, elm.json."""
    table = json.loads(text)
    license_ = table.get("license", table.get("licenses"))
    several = license_ if isinstance(license_, list) else [license_]
    names = [one.get("type", one.get("name")) if isinstance(one, dict) else one for one in several]
    texts = [name for name in names if isinstance(name, str)]
    return [" OR ".join(texts)] if len(texts) == len(names) else []


def _of_cargo(text: str) -> Iterable[Any]:
    table = tomllib.loads(text)
    license_ = table.get("package", {}).get("license")
    return [
        license_
        if isinstance(license_, str)
        else table.get("workspace", {}).get("package", {}).get("license")
    ]


def _of_pom(text: str) -> Iterable[str]:
    licenses = re.search(r"<licenses>(.{0,4000}?)</licenses>", text, re.DOTALL)
    return re.findall(r"<name>([^<]{2,300})</name>", licenses[1]) if licenses else []


def _of_lines(pattern: str) -> Callable[[str], Iterable[str]]:
    return lambda text: re.findall(pattern, text)[:5]


def _reader(path: str) -> Callable[[str], Iterable[Any]] | None:
    name = PurePosixPath(path).name
    return _READERS.get(name) or next((read for end, read in _ENDS if name.endswith(end)), None)


def _gnu(stated: str) -> str | None:
    """The GNU licences, whose names say a version and whether later ones will do; without one, any will."""
    found = _GNU.fullmatch(stated)
    if found is None:
        return None
    family = "AGPL" if found["a"] else "LGPL" if found["l"] else "GPL"
    version = re.search(r"[123](?:\.[01])?", found["rest"])
    if version is None:
        return f"{family}-1.0-or-later" if family == "GPL" else f"{family}-2.0-or-later"
    later = re.search(r"\+|>=|later|newer", found["rest"], re.IGNORECASE)
    number = version[0] if "." in version[0] else f"{version[0]}.0"
    return f"{family}-{number}-{'or-later' if later else 'only'}"


_READERS: dict[str, Callable[[str], Iterable[Any]]] = {
    "pyproject.toml": _of_pyproject,
    "setup.py": _of_setup,
    "setup.cfg": _of_setup,
    "PKG-INFO": _of_metadata,
    "METADATA": _of_metadata,
    "DESCRIPTION": _of_metadata,
    "package.json": _of_json,
    "bower.json": _of_json,
    "composer.json": _of_json,
    "elm.json": _of_json,
    "META.json": _of_json,
    "Cargo.toml": _of_cargo,
    "pom.xml": _of_pom,
    "META.yml": _of_lines(r"(?m)^license:[ \t]*(\S[^\n]{0,100})"),
    "mix.exs": _of_lines(r"licenses:\s*\[\s*\"([^\"\n]{2,100})\"\s*\]"),
}
_ENDS: tuple[tuple[str, Callable[[str], Iterable[str]]], ...] = (
    (".gemspec", _of_lines(r"(?m)^[ \t]*\w+\.licenses?\s*=\s*(?:\[\s*)?[\"']([^\"'\n]{2,100})[\"']")),
    (".podspec", _of_lines(r"(?m)^[ \t]*\w+\.license\s*=\s*[\"']([^\"'\n]{2,100})[\"']")),
    (".nuspec", _of_lines(r"<license type=\"expression\">([^<]{2,300})</license>")),
    (".csproj", _of_lines(r"<PackageLicenseExpression>([^<]{2,300})</PackageLicenseExpression>")),
    (".cabal", _of_lines(r"(?mi)^license:[ \t]*(\S[^\n]{0,100})")),
    (".opam", _of_lines(r"(?m)^license:[ \t]*\"([^\"\n]{2,100})\"")),
    (".rockspec", _of_lines(r"license\s*=\s*\"([^\"\n]{2,100})\"")),
)

_ONE_WORD = "MIT|ISC|Zlib|NCSA|Unlicense|WTFPL|TCL|X11|0BSD|HPND"
_ID = rf"\(*(?:LicenseRef-[\w.-]+|[A-Za-z0-9]++(?:[.-][\w.]++)++\+?|{_ONE_WORD})\)*"
"""Never goes back (``++``): a run of dots could be cut up in more ways than there is time for."""

_EXPRESSION = re.compile(rf"{_ID}(?: (?:AND|OR|WITH) {_ID})*")
_BARE = re.compile(r"(?i)[al]?gpl-?v?[123](\.[01])?\+?|[al]?gpl-[123]\.[01]|perl[-_ ]?5|apache-2|bsd-?[234]")
"""Forms that look like identifiers and are none."""

_VERSIONED = r"(?:,? (?:version|v\.?) ?|[ -]v?)"
_NAMES = tuple(
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"(?:the )?(?:mit|expat)(?: license)?(?: \(mit\))?|mit_license", "MIT"),
        (
            rf"(?:the )?apache(?: software)?(?: license)?{_VERSIONED}2(?:\.0)?|apache_2_0|asl ?2(?:\.0)?",
            "Apache-2.0",
        ),
        (
            r"(?:new|modified|revised|3-clause) bsd(?: license)?|bsd[-_ ]?3(?:[-_ ]clause)?(?: license)?",
            "BSD-3-Clause",
        ),
        (
            r"(?:simplified|2-clause) bsd(?: license)?|bsd[-_ ]?2(?:[-_ ]clause)?(?: license)?|freebsd",
            "BSD-2-Clause",
        ),
        (r"isc(?: license)?(?: \(iscl\))?", "ISC"),
        (r"(?:the )?unlicense(?: \(unlicense\))?", "Unlicense"),
        (r"python software foundation license|psfl?", "PSF-2.0"),
        (r"(?:mozilla public license|mpl)(?:,? (?:version )?|-)2(?:\.0)?(?: \(mpl 2\.0\))?", "MPL-2.0"),
        (r"zlib(?:/libpng)?(?: license)?", "Zlib"),
        (r"perl(?:[_ ]?5)?|(?:under )?the same terms as perl.*", "Artistic-1.0-Perl OR GPL-1.0-or-later"),
        (r"artistic[-_ ]2(?:[._]0)?", "Artistic-2.0"),
        (r"public domain", "LicenseRef-public-domain"),
        (r"cc0(?:-?1\.0)?(?: universal)?", "CC0-1.0"),
    )
)
_GNU = re.compile(
    r"(?:the )?(?:gnu )?(?:(?P<a>affero|a(?=gpl))|(?P<l>lesser|library|l(?=gpl)))? ?(?:gnu )?"
    r"(?:general public licen[cs]e|gpl)(?P<rest>[\w .,()+>=:-]{0,60})",
    re.IGNORECASE,
)
