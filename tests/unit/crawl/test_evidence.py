"""What says which licence a file is under, what goes first, and what becomes of contradictions."""

import doctest

import pytest

from crawl import evidence, licenses, manifests
from crawl.config import PERMISSIVE

GPL = """/* This program is free software; you can redistribute it and/or modify
 * it under the terms of the GNU General Public License as published by
 * the Free Software Foundation; either version 2 of the License, or
 * (at your option) any later version. */
"""
MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software..."
REUSE = """version = 1
[[annotations]]
path = ["assets/**", "*.json"]
SPDX-License-Identifier = "CC0-1.0"
"""
DEP5 = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2020 A
License: MIT

Files: vendored/*
 more/x?.py
License: GPL-3+
"""
REPO = {
    "LICENSE": MIT,
    "package.json": '{"license": "MIT"}',
    "sub/Cargo.toml": '[package]\nlicense = "MIT OR Apache-2.0"',
    "clash/LICENSE": MIT,
    "clash/setup.py": 'setup(name="x", license="GPLv3")',
    "logo.svg.license": "SPDX-License-Identifier: CC0-1.0",
    "LICENSES/GPL-2.0-only.txt": GPL,
    "empty/COPYING": "all mine",
}


def verdict(path: str, text: str = "x = 1\n", listed: str | None = None) -> evidence.Verdict:
    return evidence.of(path, text, evidence.gather(REPO, listed))


@pytest.mark.parametrize(
    ("path", "text", "license_", "state", "sources"),
    [
        ("a.py", "x", "MIT", "inherited", ["file", "manifest"]),
        ("a.c", GPL, "GPL-2.0-or-later", "stated", ["header"]),
        ("a.py", "# SPDX-License-Identifier: 0BSD\n", "0BSD", "stated", ["header"]),
        ("sub/src/lib.rs", "x", "MIT OR Apache-2.0", "inherited", ["manifest"]),
        ("clash/deep/a.py", "x", "GPL-3.0-only AND MIT", "conflict", ["file", "manifest"]),
        ("logo.svg", "x", "CC0-1.0", "stated", ["sidecar"]),
        ("LICENSES/a.py", "x", "MIT", "inherited", ["file", "manifest"]),
        ("empty/a.py", "x", "MIT", "inherited", ["file", "manifest"]),
    ],
)
def test_what_a_file_says_goes_first_then_its_nearest_directory(
    path: str, text: str, license_: str, state: str, sources: list[str]
) -> None:
    found = verdict(path, text)
    assert (found.license, found.state) == (license_, state)
    assert sorted(one.source for one in found.evidence) == sources


def test_a_license_that_only_headers_state_is_not_permitted_by_the_repos() -> None:
    assert not licenses.permits(verdict("a.c", GPL).license or "", PERMISSIVE)
    assert licenses.permits(verdict("a.py").license or "", PERMISSIVE)


def test_a_conflict_is_permitted_only_if_each_side_is() -> None:
    assert not licenses.permits(verdict("clash/a.py").license or "", PERMISSIVE)
    assert verdict("a.py", listed="GPL-3.0-only").state == "conflict"
    assert verdict("a.py", listed="MIT OR Apache-2.0").license == "MIT OR Apache-2.0"
    both = verdict("a.py", listed="ISC")
    assert (both.license, both.state) == ("ISC AND MIT", "conflict")
    assert licenses.permits("ISC AND MIT", PERMISSIVE)


def test_files_of_one_directory_bind_together() -> None:
    texts = {"LICENSE": MIT, "NOTICE.license": "", "COPYING": GPL}
    assert evidence.of("a.py", "x", evidence.gather(texts, None)).license == "GPL-2.0-or-later AND MIT"


def test_nothing_stated_is_none() -> None:
    assert evidence.of("a.py", "x", evidence.gather({}, None)) == evidence.Verdict(None, "none", ())


@pytest.mark.parametrize(
    ("path", "license_"),
    [
        ("assets/deep/a.py", "CC0-1.0"),
        ("a.json", "CC0-1.0"),
        ("deep/a.json", None),
        ("debian/vendored/a.c", None),
    ],
)
def test_reuse_toml_speaks_for_what_its_globs_match(path: str, license_: str | None) -> None:
    assert evidence.of(path, "x", evidence.gather({"REUSE.toml": REUSE}, None)).license == license_


@pytest.mark.parametrize(
    ("path", "license_"),
    [("a.py", "MIT"), ("vendored/deep/b.c", "GPL-3.0-or-later"), ("more/x1.py", "GPL-3.0-or-later")],
)
def test_the_last_paragraph_of_dep5_that_matches_counts(path: str, license_: str) -> None:
    assert evidence.of(path, "x", evidence.gather({".reuse/dep5": DEP5}, None)).license == license_


@pytest.mark.parametrize(
    "text",
    ["a = " + "1" * 5000, '[[annotations]]\npath = 5\nSPDX-License-Identifier = "MIT"', "annotations = 5"],
)
def test_a_reuse_file_that_makes_no_sense_says_nothing(text: str) -> None:
    assert evidence.gather({"REUSE.toml": text}, None).globs == []


def test_a_hostile_glob_takes_linear_time() -> None:
    glob = "*a" * 190 + "b"
    text = f'[[annotations]]\npath = "{glob}"\nSPDX-License-Identifier = "MIT"\n'
    assert evidence.of("a" * 399, "x", evidence.gather({"REUSE.toml": text}, None)).license is None


@pytest.mark.parametrize(
    ("path", "text", "license_"),
    [
        ("pyproject.toml", '[project]\nlicense = "MIT"', "MIT"),
        ("pyproject.toml", '[project]\nlicense = {text = "BSD-3-Clause"}', "BSD-3-Clause"),
        ("pyproject.toml", '[tool.poetry]\nlicense = "Apache-2.0"', "Apache-2.0"),
        ("pyproject.toml", '[project]\nclassifiers = ["License :: OSI Approved :: MIT License"]', "MIT"),
        ("setup.py", "setup(\n    license='Apache License 2.0',\n)", "Apache-2.0"),
        ("PKG-INFO", "Name: x\nLicense: BSD-2-Clause\n\nLicense: GPL", "BSD-2-Clause"),
        ("DESCRIPTION", "Package: x\nLicense: MIT + file LICENSE\n", "MIT"),
        ("DESCRIPTION", "Package: x\nLicense: GPL-2 | GPL-3\n", "GPL-2.0-only OR GPL-3.0-only"),
        ("package.json", '{"licenses": [{"type": "MIT"}, {"type": "ISC"}]}', "MIT OR ISC"),
        ("package.json", '{"license": "UNLICENSED"}', None),
        ("package.json", '{"license": ["MIT"', None),
        ("package.json", "[" * 100_000, None),
        ("composer.json", '{"license": ["MIT", "GPL-3.0-or-later"]}', "MIT OR GPL-3.0-or-later"),
        ("Cargo.toml", '[package]\nlicense = "MIT/Apache-2.0"', "MIT OR Apache-2.0"),
        ("Cargo.toml", "[package]\nlicense.workspace = true", None),
        (
            "pom.xml",
            "<licenses><license><name>Apache License, Version 2.0</name></license></licenses>",
            "Apache-2.0",
        ),
        ("x.gemspec", '  s.license = "MIT"\n', "MIT"),
        ("x.cabal", "license:      BSD3\n", "BSD-3-Clause"),
        ("x.nuspec", '<license type="expression">MIT</license>', "MIT"),
        ("META.yml", "license: perl\n", "Artistic-1.0-Perl OR GPL-1.0-or-later"),
        ("mix.exs", 'licenses: ["Apache-2.0"]', "Apache-2.0"),
    ],
)
def test_a_manifest_states_a_license(path: str, text: str, license_: str | None) -> None:
    assert manifests.of(path, text) == license_


WTFPL = """DO WHAT THE FUCK YOU WANT TO PUBLIC LICENSE
Version 2, December 2004

Copyright (C) 2004 Sam Hocevar <sam@hocevar.net>

Everyone is permitted to copy and distribute verbatim or modified copies of this license document, and
changing it is allowed as long as the name is changed.

DO WHAT THE FUCK YOU WANT TO PUBLIC LICENSE
TERMS AND CONDITIONS FOR COPYING, DISTRIBUTION AND MODIFICATION

0. You just DO WHAT THE FUCK YOU WANT TO.
"""


def test_a_text_that_our_own_words_do_not_know_is_recognised() -> None:
    assert licenses.of_file(WTFPL) == licenses.of_file(WTFPL) == "WTFPL"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("PKG-INFO", "License: a" + "." * 150 + "!"),
        ("setup.py", "\n" * 90_000),
        ("x.gemspec", "a.license =" + " " * 90_000),
        ("x.nuspec", '<license type="expression">' + " " * 90_000),
        ("pom.xml", f"<licenses><name>{' ' * 3900}</licenses>"),
    ],
)
def test_a_manifest_made_to_take_for_ever_comes_to_an_end(path: str, text: str) -> None:
    assert manifests.of(path, text) is None


def test_the_examples_of_the_docs() -> None:
    assert doctest.testmod(manifests).failed == 0
