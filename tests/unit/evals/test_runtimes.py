"""Programs of every language, compiled and run where their tools are; where not, said so plainly."""

import warnings

import pytest

from evals import runtimes
from evals.runtimes import RUNTIMES, Missing
from evals.sandbox import Limits, Sandbox

SAY = {
    "cpp": "#include <cstdio>\n#include <cstdlib>\nint main() {{ {body} }}",
    "java": "class Problem {{ public static void main(String[] given) {{ {body} }} }}",
    "javascript": "{body}",
    "typescript": "let typed: number = 1;\n{body}",
    "php": "<?php {body}",
    "csharp": "class Program {{ static void Main() {{ {body} }} }}",
    "bash": "{body}",
    "go": 'package main\nimport ("fmt"; "os"; "testing")\nfunc TestAll(t *testing.T) {{ {body} }}\n'
    "var _ = fmt.Sprint; var _ = os.Exit",
    "rust": "fn main() {{ {body} }}",
    "ruby": "require 'test/unit/assertions'\n{body}",
    "perl": "use Test::Deep;\n{body}",
    "lua": "require('luaunit')\n{body}",
    "r": "{body}",
    "d": "import std.stdio;\nunittest {{ {body} }}",
    "ocaml": "{body}",
    "racket": "#lang racket\n(require rackunit)\n{body}",
    "scala": "object Problem extends App {{ {body} }}",
    "haskell": "main = do\n {body}",
    "julia": "{body}",
    "swift": "import Foundation\n{body}",
}
"""A program around a statement or two."""

PRINT = {
    "cpp": 'puts("é");',
    "java": 'System.out.println("é");',
    "javascript": "console.log('é');",
    "typescript": "console.log('é');",
    "php": 'echo "é\n";',
    "csharp": 'System.Console.WriteLine("é");',
    "bash": "cat <(echo é);",
    "go": 'fmt.Println("é");',
    "rust": 'println!("é");',
    "ruby": "puts 'é'",
    "perl": 'print "é\\n";',
    "lua": "print('é')",
    "r": 'cat("é\\n")',
    "d": 'writeln("é");',
    "ocaml": 'let () = print_endline "é";;',
    "racket": '(displayln "é")',
    "scala": 'println("é");',
    "haskell": 'putStrLn "é"',
    "julia": 'println("é")',
    "swift": 'print("é")',
}
LEAVE = {
    "cpp": "if (true) exit(0);",
    "java": "if (true) System.exit(0);",
    "javascript": "process.exit(0);",
    "typescript": "eval('process.exit(0)');",
    "php": "exit(0);",
    "csharp": "System.Environment.Exit(0);",
    "bash": "exit 0",
    "go": "if true {{ os.Exit(0) }};",
    "rust": "if true {{ std::process::exit(0); }}",
    "ruby": "exit!(0)",
    "perl": "exit(0);",
    "lua": "os.exit(0)",
    "r": "quit(status = 0)",
    "d": "import core.stdc.stdlib; if (true) exit(0);",
    "ocaml": "let () = exit 0;;",
    "racket": "(exit 0)",
    "scala": "if (true) sys.exit(0);",
    "haskell": " if True then (return ()) else (return ())",
    "julia": "exit(0)",
    "swift": "import Foundation\nexit(0)",
}
BROKEN = {
    "cpp": "int x = ;",
    "java": "int x = ;",
    "typescript": "let y: number = 'é';",
    "csharp": "int x = ;",
}


@pytest.fixture(scope="module")
def box():
    with Sandbox(Limits(cpu_seconds=10.0)) as opened:
        yield opened


@pytest.fixture(params=RUNTIMES)
def language(request):
    try:
        runtimes.toolchain(request.param)
    except Missing as missing:
        warnings.warn(f"{request.param} was not run: {missing}", stacklevel=1)
        pytest.skip(str(missing))
    return request.param


def program(language, *statements, word="word"):
    end = RUNTIMES[language].report.format(word=word)
    return SAY[language].format(body="\n".join(part or end for part in statements))


def test_program_prints_and_reports_its_end(box, language):
    seen = box.execute(program(language, PRINT[language], None), language, word="word")
    assert (seen.stage, seen.status) == ("run", 0), seen
    assert seen.stdout == ("é\nPASS\n" if language == "go" else "é\n")
    assert seen.stderr == ("1 modules passed unittests\n" if language == "d" else "")
    assert seen.ended and seen.verdict == "passed" and seen.cpu_seconds > 0 < seen.memory_bytes


def test_leaving_early_with_status_0_does_not_report_an_end(box, language):
    if language == "scala":
        pytest.skip("its compiler takes six seconds, and it leaves as java does")
    seen = box.execute(program(language, LEAVE[language], None), language, word="word")
    assert seen.status == 0 and seen.stage == "run" and not seen.ended, seen


@pytest.mark.parametrize("language", BROKEN, indirect=True)
def test_what_does_not_compile_is_not_run(box, language):
    seen = box.execute(program(language, BROKEN[language]), language)
    assert (seen.stage, seen.verdict) == ("compile", "failed") and seen.detail.startswith("compiler: ")


def test_wrong_word_is_no_end(box):
    seen = box.execute(program("bash", None, word="words"), "bash", word="word")
    assert not seen.ended and not box.execute("true", "bash").ended


def test_missing_tool_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    runtimes.toolchain.cache_clear()
    with pytest.raises(Missing, match="mcs is not installed: mono-mcs"):
        runtimes.toolchain("csharp")
    with pytest.raises(runtimes.Refusal, match="cobol is no language"):
        runtimes.toolchain("cobol")
    runtimes.toolchain.cache_clear()


@pytest.mark.parametrize("language", [name for name in RUNTIMES if RUNTIMES[name].server], indirect=True)
def test_warm_compiler_says_what_a_fresh_one_says(language):
    texts = [program(language, body, None) for body in (PRINT[language], BROKEN[language], LEAVE[language])]

    def facts(seen):
        said = seen.stdout if seen.stage == "run" else "TS2322" in seen.stdout + seen.stderr
        return seen.stage, seen.verdict, seen.ended, seen.status, said

    with Sandbox() as box:
        fresh = []
        for text in texts:
            box._compilers.close()
            fresh.append(box.execute(text, language, word="word"))
        again = [box.execute(text, language, word="word") for text in texts]
        assert list(map(facts, again)) == list(map(facts, fresh))
        assert again[0].cpu_seconds < fresh[0].cpu_seconds
        (server,) = box._compilers._servers.values()
        server._slot.process.kill()
        assert facts(box.execute(texts[0], language, word="word")) == facts(fresh[0])
