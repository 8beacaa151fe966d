from __future__ import annotations

import doctest

import pytest

from crawl import licenses
from crawl.config import PERMISSIVE
from crawl.licenses import is_license_file, of_file, of_header, permits

GPL = """/* This program is free software; you can redistribute it and/or modify
 * it under the terms of the GNU General Public License as published by
 * the Free Software Foundation; either version 2 of the License, or
 * (at your option) any later version. */
"""
MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software..."""
BSD = """Redistribution and use in source and binary forms, with or without modification, are permitted"""


@pytest.mark.parametrize(
    ("header", "license_"),
    [
        ("// SPDX-License-Identifier: MIT\n", "MIT"),
        ("/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */\n", "(GPL-2.0-only OR BSD-3-Clause)"),
        ("<!-- SPDX-License-Identifier: Apache-2.0-->", "Apache-2.0"),
        ("-- SPDX-License-Identifier: MIT License\n", "MIT"),
        ("# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception\n", "Apache-2.0 WITH LLVM-exception"),
        (GPL, "GPL-2.0-or-later"),
        (GPL.replace("General", "Lesser General").replace("version 2 ", "version 2.1 "), "LGPL-2.1-or-later"),
        ("# under the terms of the GNU Affero General Public License, version 3\n", "AGPL-3.0-only"),
        ("# Licensed under the Apache License, Version 2.0 (the 'License')\n", "Apache-2.0"),
        ("# This Source Code Form is subject to the Mozilla Public License, v. 2.0\n", "MPL-2.0"),
        (f"# {BSD}\n# Neither the name of X nor the names of its contributors\n", "BSD-3-Clause"),
        (f"# {BSD}\n", "BSD-2-Clause"),
        ("import os\n", None),
        ("\n" * 40 + GPL, None),
    ],
)
def test_a_header_says_what_a_file_is_under(header: str, license_: str | None) -> None:
    assert of_header(header) == license_


def test_the_name_of_a_license_in_passing_is_no_license() -> None:
    assert of_file(f"{MIT}\n (GPL-compatible does not mean that this is distributed under the GPL.)") == "MIT"


def test_two_licenses_in_one_text_bind_together() -> None:
    assert of_file(f"{MIT}\n\n{BSD}") == "BSD-2-Clause AND MIT"


@pytest.mark.parametrize("name", ["LICENSE", "LICENCE.txt", "COPYING.LESSER", "license-mit.md", "UNLICENSE"])
def test_license_files_are_known_by_name(name: str) -> None:
    assert is_license_file(f"a/{name}")
    assert not is_license_file("a/licensing.py")
    assert not is_license_file("a/license.py")


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("mit", True),
        ("Apache-2.0+", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-2.0-only) AND BSD-3-Clause", True),
        ("MIT AND (GPL-2.0-only OR LGPL-2.1-only)", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("MIT OR", False),
        ("(MIT", False),
        ("MIT GPL-2.0-only", False),
        ("", False),
    ],
)
def test_a_policy_reads_expressions(expression: str, allowed: bool) -> None:
    assert permits(expression, PERMISSIVE) is allowed


def test_a_header_of_many_parentheses_permits_nothing() -> None:
    stated = of_header("# SPDX-License-Identifier: " + "(" * 1500 + "MIT" + ")" * 1500)
    assert stated is not None
    assert not permits(stated, {"MIT"})
    assert permits("((MIT OR (ISC)))", {"MIT"})


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(licenses).failed == 0
