"""Names, contents and neighbours that tell a language; the labelled files of Pygments as the truth."""

from __future__ import annotations

import doctest
import tarfile
import warnings
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawl import languages
from crawl.languages import LANGUAGES, candidates, comment, of, settle
from crawl.sources import packages
from crawl.sources.entry import Caps, OutOfReach, Repo


def test_there_are_the_papers_87_languages_and_two_more() -> None:
    assert sum(language.in_paper for language in LANGUAGES.values()) == 87
    assert len(LANGUAGES) == 89
    assert list(LANGUAGES) == sorted(LANGUAGES)


def test_every_shared_extension_has_rules_to_decide_it() -> None:
    owners = Counter(extension for language in LANGUAGES.values() for extension in language.extensions)
    shared = {extension for extension, count in owners.items() if count > 1}
    assert shared <= set(languages._AMBIGUITIES)
    assert set(languages._AMBIGUITIES) <= set(owners)


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("src/main.py", "", "python"),
        ("src/Main.PY", "", "python"),
        ("a.C", "", "cpp"),
        ("a.c", "", "c"),
        ("Makefile", "", "makefile"),
        ("Makefile.in", "", "makefile"),
        ("Makefile.PL", "", "perl"),
        ("docker/Dockerfile.dev", "", "dockerfile"),
        ("Foo.lagda.md", "", "literate-agda"),
        ("run.sh.in", "", "shell"),
        ("bin/tool", "#!/usr/bin/env -S python3.11 -u\n", "python"),
        ("bin/tool", '#!/bin/sh\n# the next line restarts using wish\nexec wish "$0" "$@"\n', "tcl"),
        ("bin/tool", "no line says what this is\n", None),
        ("script", "# -*- mode: ruby -*-\n", "ruby"),
        ("rc.local", "# vim: set ft=zsh :\n", "shell"),
        ("Setup.lhs", "#!/usr/bin/runhaskell\n> main = x\n", "literate-haskell"),
        ("dict.test", "test dict-1.1 {dict command} -body {}\n", "tcl"),
        ("parse.test", "input\n--EXPECT--\noutput\n", None),
        ("notes.txt", "import this\n", None),
        ("x.pl", ":- module(x, [y/1]).\ny(1).\n", "prolog"),
        ("x.pl", "use strict;\nmy $x = 1;\n", "perl"),
        ("x.v", "module top(input a);\nendmodule\n", "verilog"),
        ("x.v", "Require Import Arith.\nLemma a : True.\n", None),
        ("x.m", "function y = f(x)\n% comment\nend\n", "matlab"),
        ("x.m", "#import <Foundation/Foundation.h>\n@implementation X\n", None),
        ("x.m", "(* ::Package:: *)\nf[x_] := x\n", "mathematica"),
        ("x.ts", "<?xml version='1.0'?>\n<TS version='2.1'>\n", None),
        ("x.ts", "export const a: number = 1;\n", "typescript"),
        ("x.ml", "let f = List.map (fun x -> x)\n", "ocaml"),
        ("x.ml", "fun f x = x + 1\n", "standard-ml"),
        ("x.st", "Object subclass: #A\n", "smalltalk"),
        ("x.do", "redo-ifchange all\n", "shell"),
        ("x.do", '* data\nuse "a.dta", clear\n', "stata"),
        ("x.fs", "#version 330\nvoid main() {}\n", "glsl"),
        ("x.fs", "module A\nlet x = 1\n", "f-sharp"),
        ("x.cls", 'VERSION 1.0 CLASS\nAttribute VB_Name = "A"\n', "visual-basic"),
        ("x.cls", "\\ProvidesClass{x}\n", "tex"),
        ("x.pp", "unit A;\ninterface\n", "pascal"),
        ("x.pp", "class a { package { 'b': } }\n", None),
        ("x.inc", "<?php echo 1;\n", "php"),
        ("x.f", "+incdir+rtl\nrtl/top.v\n", None),
        ("x.f", "      SUBROUTINE A(X)\n      END\n", "fortran"),
        ("x.h", "-*- C++ -*-\n", "cpp"),
    ],
)
def test_a_file_alone(path: str, text: str, language: str | None) -> None:
    assert of(path, text) == language


def test_a_header_follows_the_source_of_its_name_then_its_directory_then_the_repo() -> None:
    plain = "int f(int);\n"
    texts = {
        "lib/a.h": plain,
        "lib/a.cpp": "",
        "lib/b.c": "",
        "lib/c.c": "",
        "lib/other.h": plain,
        "include/x.h": plain,
        "src/x1.cpp": "",
        "src/x2.cpp": "",
    }
    found = settle({path: candidates(path, text) for path, text in texts.items()})
    assert (found["lib/a.h"], found["lib/other.h"], found["include/x.h"]) == ("cpp", "c", "cpp")
    assert of("x.h", plain) == "c"


def test_a_header_beside_objective_c_is_none_of_ours() -> None:
    texts = {"a.h": "int f(int);\n", "a.m": "#import <UIKit/UIKit.h>\n@implementation A\n@end\n"}
    assert settle({path: candidates(path, text) for path, text in texts.items()})["a.h"] is None


@given(st.sampled_from(sorted(LANGUAGES)), st.text(min_size=1))
def test_a_comment_is_one_line_and_cannot_be_closed_from_within(language: str, text: str) -> None:
    line = comment(language, text)
    if line is None:
        assert language in ("json", "jupyter-notebook")
        return
    assert len(line.splitlines()) == 1
    block = LANGUAGES[language].block
    if LANGUAGES[language].line is None and block is not None:
        assert line.index(block[1], len(block[0])) == len(line) - len(block[1])


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(languages).failed == 0


# Folder names of Pygments' examples that name a language of ours otherwise than we do.
ALIASES = {
    "bat": "batchfile",
    "csharp": "c-sharp",
    "docker": "dockerfile",
    "fsharp": "f-sharp",
    "make": "makefile",
    "basemake": "makefile",
    "protobuf": "protocol-buffer",
    "rb": "ruby",
    "rst": "restructuredtext",
    "bash": "shell",
    "sml": "standard-ml",
    "vb.net": "visual-basic",
    "vbscript": "visual-basic",
    "js": "javascript",
    "lhs": "literate-haskell",
    "lean4": "lean",
    "octave": "matlab",
    "wolfram": "mathematica",
    "delphi": "pascal",
    "gas": "assembly",
    "nasm": "assembly",
    "tasm": "assembly",
    "md": "markdown",
    "ts": "typescript",
    "tsx": "typescript",
    "emacs": "emacs-lisp",
    "jsp": "java-server-pages",
    "latex": "tex",
    "splus": "r",
    "mysql": "sql",
    "postgresql": "sql",
    "plpgsql": "sql",
    "tsql": "sql",
    "fortranfixed": "fortran",
}
PYGMENTS = (
    "pkg:pypi/pygments@2.21.0?file_name=pygments-2.21.0.tar.gz",
    "610ca751c9bc2492b38eb9a38a7fbc93edbbb2d7182edaf34e66ae493dee5c8c",
)


@pytest.mark.net
def test_of_pygments_labelled_examples_more_than_96_percent_are_named_right(tmp_path: Path) -> None:
    url, sha256 = PYGMENTS
    repo = Repo("pypi/pygments@2.21.0", f"sha256:{sha256}", "pypi", url)
    try:
        packages.obtain(repo, tmp_path, Caps(1 << 20, 1 << 30, 100_000, 200))
    except OutOfReach:
        warnings.warn("the registry is out of reach: nothing checked", stacklevel=1)
        return
    right = wrong = 0
    with tarfile.open(packages._archive(repo, tmp_path)) as tar:
        for member in tar:
            parts = member.name.split("/")
            if (
                not member.isreg()
                or parts[1:3] != ["tests", "examplefiles"]
                or member.name.endswith(".output")
            ):
                continue
            label = ALIASES.get(parts[3], parts[3])
            if label in LANGUAGES:
                content = tar.extractfile(member)
                assert content is not None
                named = of(parts[-1], content.read().decode("utf-8", "replace"))
                right, wrong = right + (named == label), wrong + (named != label)
    assert right + wrong > 150
    assert right / (right + wrong) > 0.96
