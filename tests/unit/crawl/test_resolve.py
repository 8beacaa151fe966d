"""An import means the file that the language would take it for, or none."""

import importlib.util
from pathlib import Path

import grimp
import pytest

from crawl.imports.families import edges
from crawl.imports.place import Source
from crawl.syntax import look

PYTHON = """
setup.py: pkg
src/pkg/__init__.py: .core:Thing
src/pkg/core.py: .util:helper json types
src/pkg/util.py: . .:core
src/pkg/types.py: __future__
src/pkg/sub/__init__.py:
src/pkg/sub/deep.py: ..core:Thing ...beyond ....outside pkg.util:helper pkg:core
src/space/one/mod.py: space.two.mod
src/space/two/mod.py: numpy
tests/helpers.py:
tests/test_core.py: pkg pkg.core:Thing helpers pkg.missing
tools/json.py:
tools/run.py: json
other/utils.py:
other/a/b.py: core
"""

PYTHON_EDGES = """
setup.py src/pkg/__init__.py
src/pkg/__init__.py src/pkg/core.py
src/pkg/core.py src/pkg/util.py
src/pkg/sub/deep.py src/pkg/core.py
src/pkg/sub/deep.py src/pkg/util.py
src/pkg/util.py src/pkg/__init__.py
src/pkg/util.py src/pkg/core.py
src/space/one/mod.py src/space/two/mod.py
tests/test_core.py src/pkg/__init__.py
tests/test_core.py src/pkg/core.py
tests/test_core.py tests/helpers.py
tools/run.py tools/json.py
"""


def sources(table: str, language: str, declares: dict[str, str] | None = None) -> list[Source]:
    rows = [line.partition(":") for line in table.strip().splitlines()]
    return [Source(path, language, targets.split(), (declares or {}).get(path)) for path, _, targets in rows]


def test_python_finds_relative_absolute_src_and_namespace_imports_and_no_standard_library() -> None:
    expected = [tuple(line.split()) for line in PYTHON_EDGES.strip().splitlines()]
    assert edges(sources(PYTHON, "python")) == expected


CASES = {
    "javascript": (
        "a/index.js:\na/b.js: ./c ../a ./c.js\na/c.ts: ./d.js left-pad\na/d.ts: ../../x\n",
        [("a/b.js", "a/c.ts"), ("a/b.js", "a/index.js"), ("a/c.ts", "a/d.ts")],
    ),
    "cpp": (
        "inc/lib/a.h: b.h\ninc/lib/b.h: <vector> <string.h>\nsrc/a.cpp: lib/a.h ../inc/lib/b.h\n"
        "x/same.h:\ny/same.h:\nsrc/c.cpp: same.h\nlib2/string.h:\nz/d.cpp: <lib/b.h>\n",
        [
            ("inc/lib/a.h", "inc/lib/b.h"),
            ("src/a.cpp", "inc/lib/a.h"),
            ("src/a.cpp", "inc/lib/b.h"),
            ("z/d.cpp", "inc/lib/b.h"),
        ],
    ),
    "go": (
        "cmd/main.go: fmt h.com/me/app/store h.com/other/log\nstore/a.go: h.com/me/app/log\nstore/b.go:\n"
        "store/a_test.go:\nlog/log.go:\n",
        [("cmd/main.go", "store/a.go"), ("cmd/main.go", "store/b.go"), ("store/a.go", "log/log.go")],
    ),
    "rust": (
        "src/lib.rs: ./a ./net\nsrc/a.rs: crate::net::tcp::Stream std::io\nsrc/net/mod.rs: ./tcp\n"
        "src/net/tcp.rs: super::udp::Socket super::Error\nsrc/net/udp.rs: self::x\n",
        [
            ("src/a.rs", "src/net/tcp.rs"),
            ("src/lib.rs", "src/a.rs"),
            ("src/lib.rs", "src/net/mod.rs"),
            ("src/net/mod.rs", "src/net/tcp.rs"),
            ("src/net/tcp.rs", "src/net/mod.rs"),
            ("src/net/tcp.rs", "src/net/udp.rs"),
        ],
    ),
    "ruby": (
        "lib/a.rb: a/b json\nlib/a/b.rb: ./c\nlib/a/c.rb:\nspec/a_spec.rb: a\n",
        [("lib/a.rb", "lib/a/b.rb"), ("lib/a/b.rb", "lib/a/c.rb"), ("spec/a_spec.rb", "lib/a.rb")],
    ),
}


@pytest.mark.parametrize("language", CASES)
def test_other_languages_find_the_files_they_would_open(language: str) -> None:
    table, expected = CASES[language]
    assert edges(sources(table, language)) == expected


def test_languages_do_not_import_one_another() -> None:
    both = sources("a.py: b", "python") + sources("b.rb:", "ruby")
    assert edges(both) == []


def test_the_edges_do_not_depend_on_the_order_of_the_files() -> None:
    files = sources(PYTHON, "python")
    assert edges(files[::-1]) == edges(files)


def test_odd_targets_leave_no_edge_and_raise_nothing() -> None:
    odd = [".", "..", ":", ".:", "....a:b", "", "a..b", "/", "../../..", "<>", "::", "\\", "crate::", "self"]
    for language in ("python", "javascript", "cpp", "go", "rust", "ruby", "php", "java", "c-sharp"):
        assert edges([Source("a/b.x", language, odd, "p"), Source("c.x", language, odd, None)]) == []


@pytest.mark.parametrize("package", ["cyclopts", "hypothesis"])
def test_installed_packages_have_the_import_graph_that_grimp_finds_by_python_s_own_rules(
    package: str,
) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    root = Path(spec.origin).parent
    files = {path.relative_to(root.parent).as_posix(): path for path in root.rglob("*.py")}
    graph = grimp.build_graph(package, cache_dir=None)
    name = {path: path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in files}
    ours = edges(
        [Source(p, "python", look(f.read_bytes(), "python").imports, None) for p, f in files.items()]
    )
    theirs = {(a, b) for a in graph.modules for b in graph.find_modules_directly_imported_by(a) if a != b}
    assert {(name[a], name[b]) for a, b in ours if name[a] in graph.modules} == theirs


def test_importing_a_package_of_very_many_files_says_nothing() -> None:
    package = [Source(f"p/{n}.go", "go", [], None) for n in range(201)]
    importers = [Source(f"q/{n}.go", "go", ["x.io/m/p", "x.io/m/q"], None) for n in range(3)]
    assert not [edge for edge in edges(package + importers) if edge[1].startswith("p/")]
    assert len([edge for edge in edges(package[:200] + importers) if edge[1].startswith("p/")]) == 600


def test_the_nearest_of_many_namesakes_is_meant() -> None:
    files = [
        Source(f"{side}/p{n}/{name}", "c", ["types.h"] if name == "a.c" else [], None)
        for side in ("left", "right")
        for n in range(1500)
        for name in ("a.c", "inc/types.h")
    ]
    found = edges(files)
    assert len(found) == 3000
    assert all(imported == importer.replace("a.c", "inc/types.h") for importer, imported in found)
