"""Languages whose imports say where a file lies: C's ``include``, ``require``, ``source``, ``\\input``.

A target is first looked for beside the importer, then as the ending of any path of the repo, the nearest
one; `_FORMS` says how a target becomes a path where it is not one as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from posixpath import dirname, normpath

from crawl.imports.find import Grammar
from crawl.imports.place import Index, Resolve, Resolver, Source, by_endings, each, join

_INCLUDE = """
(preproc_include path: (string_literal (string_content) @target))
(preproc_include path: (system_lib_string) @target)
"""

_RUBY = """
((call method: (identifier) @_method arguments: (argument_list . (string (string_content) @near)))
 (#eq? @_method "require_relative"))
((call method: (identifier) @_method arguments: (argument_list . (string (string_content) @target)))
 (#eq? @_method "require"))
"""

_DART = """
(configurable_uri (uri (string_literal) @target))
(part_directive (uri (string_literal) @target))
"""

_LUA = """
((function_call name: (identifier) @_function arguments: (arguments . (string (string_content) @target)))
 (#any-of? @_function "require" "dofile" "loadfile"))
"""

_PERL = """
(use_statement module: (package) @target)
(require_expression (bareword) @target)
(require_expression (string_literal (string_content) @target))
((use_statement module: (package) @_base (string_literal (string_content) @target))
 (#any-of? @_base "base" "parent"))
((use_statement module: (package) @_base (quoted_word_list (string_content) @words))
 (#any-of? @_base "base" "parent"))
"""

_JULIA = """
((call_expression (identifier) @_function (argument_list . (string_literal (content) @near)))
 (#eq? @_function "include"))
"""

_SOLIDITY = "(import_directive source: (string) @target)"

_PROTO = "(import path: (string) @target)"

_THRIFT = "(include_statement (string (string_fragment) @target))"

_CMAKE = """
((normal_command (identifier) @_command (argument_list . (argument) @target))
 (#any-of? @_command "include" "INCLUDE" "add_subdirectory" "ADD_SUBDIRECTORY"))
"""

_SHELL = """
((command name: (command_name) @_name . argument: (word) @target)
 (#any-of? @_name "source" "."))
((command name: (command_name) @_name . argument: (string (string_content) @target .))
 (#any-of? @_name "source" "."))
((command name: (command_name) @_name . argument: (concatenation (word) @target .))
 (#any-of? @_name "source" "."))
"""

_TEX = """
(latex_include path: (curly_group_path path: (path) @target))
(package_include paths: (curly_group_path_list path: (path) @target))
(class_include path: (curly_group_path path: (path) @target))
"""

_R = """
((call function: (identifier) @_function
       arguments: (arguments . argument: (argument value: (string content: (string_content) @target))))
 (#any-of? @_function "source" "sys.source"))
"""

_ZIG = """
((SuffixExpr (BUILTINIDENTIFIER) @_function
             (FnCallArguments (ErrorUnionExpr (SuffixExpr (STRINGLITERALSINGLE) @near))))
 (#eq? @_function "@import"))
"""

_SYSTEM = """
aio arpa/inet assert cmath complex conio cpio crypt ctype dirent dlfcn endian err errno fcntl features fenv
float fmtmsg fnmatch ftw getopt glob grp iconv inttypes io iso646 langinfo libgen limits link linux locale
malloc math mntent monetary mqueue ndbm net/if netdb netinet/in netinet/tcp nl_types poll process pthread
pwd regex sched search semaphore setjmp signal spawn stdalign stdarg stdatomic stdbool stddef stdint stdio
stdlib stdnoreturn string strings stropts syslog tar termios tgmath threads time trace uchar ucontext ulimit
unistd utime utmpx values wchar wctype windows winsock2 wordexp
"""
"""Headers of C11, POSIX and Windows, without their ending; one of such a name in a repo is rarely meant."""

GRAMMARS = {
    "c": Grammar(_INCLUDE),
    "cpp": Grammar(_INCLUDE),
    "cuda": Grammar(_INCLUDE),
    "ruby": Grammar(_RUBY),
    "dart": Grammar(_DART),
    "lua": Grammar(_LUA),
    "perl": Grammar(_PERL),
    "julia": Grammar(_JULIA),
    "solidity": Grammar(_SOLIDITY),
    "proto": Grammar(_PROTO),
    "thrift": Grammar(_THRIFT),
    "cmake": Grammar(_CMAKE),
    "bash": Grammar(_SHELL),
    "latex": Grammar(_TEX),
    "r": Grammar(_R),
    "zig": Grammar(_ZIG),
}


def resolver(forms: Callable[[str], Sequence[str]] = lambda target: [target]) -> Resolver:
    """Resolves targets by the paths that ``forms`` makes of each, the most likely first."""

    def build(sources: Sequence[Source]) -> Resolve:
        paths = {source.path for source in sources}
        endings = by_endings(paths)

        def one(importer: str, target: str) -> str | None:
            here = dirname(importer)
            for form in forms(target):
                beside = join(here, form.lstrip("/"))
                if beside in paths:
                    return beside
                found = endings.nearest(normpath(form).lstrip("/"), here)
                if found and not form.startswith("."):
                    return found
            return None

        return each(one)

    return build


def c(sources: Sequence[Source]) -> Resolve:
    """``a/b.h`` beside the file, else below any directory; in angles unless a system has one of that name."""
    paths = {source.path for source in sources}
    endings = by_endings(paths)

    def one(importer: str, target: str) -> str | None:
        name = target.strip("<>")
        if target.startswith("<") and name.removesuffix(".h") in _SYSTEM.split():
            return None
        beside = join(dirname(importer), name)
        if beside in paths and not target.startswith("<"):
            return beside
        return endings.nearest(normpath(name).lstrip("./"), dirname(importer))

    return each(one)


def ruby(sources: Sequence[Source]) -> Resolve:
    """``./a`` is relative; others are looked up below the ``lib`` directories and the root."""
    paths = {source.path for source in sources}
    known = Index()
    for path in paths:
        known.add(path, path)
        for at, part in enumerate(parts := path.split("/")):
            if part == "lib":
                known.add("/".join(parts[at + 1 :]), path)

    def one(importer: str, target: str) -> str | None:
        name = target.removesuffix(".rb") + ".rb"
        if target.startswith("./"):
            path = join(dirname(importer), name)
            return path if path in paths else None
        return known.nearest(name, dirname(importer))

    return each(one)


def dart(target: str) -> list[str]:
    """``package:p/a.dart`` is lib/a.dart of the package p.

    >>> dart("package:p/src/a.dart")
    ['p/lib/src/a.dart', 'lib/src/a.dart']
    """
    if target.startswith("package:"):
        name, _, rest = target.removeprefix("package:").partition("/")
        return [f"{name}/lib/{rest}", f"lib/{rest}"]
    return [] if ":" in target else [f"./{target}"]


def lua(target: str) -> list[str]:
    path = target if target.endswith(".lua") else target.replace(".", "/")
    return [path] if path.endswith(".lua") else [f"{path}.lua", f"{path}/init.lua"]


def perl(target: str) -> list[str]:
    return (
        [target] if "/" in target or target.endswith((".pl", ".pm")) else [target.replace("::", "/") + ".pm"]
    )


def cmake(target: str) -> list[str]:
    """A script, a module by its name, or a directory; variables stand for directories that we cannot know."""
    path = re.sub(r"\$\{[^}]*\}/?", "", target)
    return [path, f"{path}.cmake", f"{path}/CMakeLists.txt"] if path else []


def tex(target: str) -> list[str]:
    return [target, *(f"{target}.{ending}" for ending in ("tex", "sty", "cls"))]
