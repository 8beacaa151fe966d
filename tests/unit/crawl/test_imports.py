"""Imports are found in the tree: all that are there, in file order, and none in strings or comments."""

import pytest

from crawl.imports.find import paths_of
from crawl.syntax import look

CASES = {
    "python": (
        "import os.path, a as b\nfrom .c import d as e, f\nfrom . import g\n"
        "from .. h import (\n    i,  # note\n    j)\nfrom k.l import *\n# import no\ns = 'import no'\n"
        "def later():\n    import m\nfrom __future__ import n\n",
        "os.path a .c:d .c:f .:g ..h:i ..h:j k.l m",
    ),
    "javascript": (
        "import a from './a';\nimport './b.js';\nexport * from '../c';\nconst d = require('d');\n"
        "import('./e').then(f);\nother('./no');\n// import './no'\n",
        "./a ./b.js ../c d ./e",
    ),
    "typescript": ("import type { a } from './a';\nimport b = require('./b');\n", "./a ./b"),
    "c": ('#include "a/b.h"\n#include <sys/c.h>\n/* #include "no.h" */\n', "a/b.h <sys/c.h>"),
    "cpp": ('#include "a.hpp"\n#include <b/c>\nnamespace x {}\n', "a.hpp <b/c>"),
    "java": ("package p.q;\nimport a.b.C;\nimport static a.b.D.e;\nimport x.y.*;\n", "a.b.C a.b.D.e x.y"),
    "go": ('package p\nimport "fmt"\nimport (\n  x "h.com/a/b"\n)\n', "fmt h.com/a/b"),
    "rust": (
        "mod a;\nmod b { fn f() {} }\nuse crate::{c, d::{self, e as f}};\nuse super::g::*;\n",
        "./a crate::c crate::d::self crate::d::e super::g",
    ),
    "csharp": ("using System.Text;\nusing X = A.B;\nnamespace N.M { class C {} }\n", "System.Text A.B"),
    "php": (
        '<?php\nnamespace A\\B;\nuse C\\D;\nuse E\\{F, G as H};\nrequire __DIR__ . "/i.php";\n',
        "C\\D E\\F E\\G ./i.php",
    ),
    "ruby": ("require_relative 'a/b'\nrequire \"c\"\nputs 'require no'\n", "./a/b c"),
}


@pytest.mark.parametrize("grammar", CASES)
def test_targets_are_those_of_the_imports_in_file_order(grammar: str) -> None:
    source, targets = CASES[grammar]
    assert look(source.encode(), grammar).imports == tuple(targets.split())


@pytest.mark.parametrize(("grammar", "name"), [("java", "p.q"), ("csharp", "N.M"), ("php", "A\\B")])
def test_a_file_declares_its_package(grammar: str, name: str) -> None:
    assert look(CASES[grammar][0].encode(), grammar).declares == name


def test_a_target_named_twice_is_one_target() -> None:
    assert look(b"import a\nimport b\nimport a\n", "python").imports == ("a", "b")


def test_use_trees_may_nest_and_break_lines() -> None:
    assert paths_of("a::{\n  b::{c, // note\n    d},\n  e,\n}") == ["a::b::c", "a::b::d", "a::e"]
