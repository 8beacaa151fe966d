"""DS-1000 (Lai et al. 2022, arXiv 2211.11501): a thousand questions about seven data-science libraries.

The rows are those of the first release as codefuse-ai/codefuse-evaluation re-packed them (CC-BY-SA-4.0);
inputs and answers are pickles, in a tar of its folder CodeCompletion or CodeInsertion, which is the user's
to give.  A pickle runs code when it is loaded, so nobody opens them but the sandboxed program.

Protocol: the prompt as it stands (completion) or split at ``[insert]`` (insertion), greedy, 2,048 tokens
in all, ends at ``</code>`` or ``# SOLUTION END``; the answer goes into its context, which runs once a case;
then its test compares results with answers, and looks for forbidden words where it must.  DeepSeek's
average is weighted by problems: passed of all libraries by their sum.

The libraries are those installed here or in the folder of ``--packages``; published scores had old ones
(numpy 1.21, pandas 1.3).  References that fail for that stop the self-test, and there is no score.
Results are arrays and frames, so a test cannot run apart from its program: ``exact`` decides alone.
Matplotlib, PyTorch and TensorFlow are run only where ``--packages`` holds them; pictures are not compared.
"""

from __future__ import annotations

import base64
import io
import json
import lzma
import tarfile
import zlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from evals.config import Problems
from evals.data import Source
from evals.sandbox import Test
from evals.suites.problem import Problem

URL = (
    "https://raw.githubusercontent.com/codefuse-ai/codefuse-evaluation/"
    "09a4f2af5bdc55052052c9bd0cb74d47e40198fc/codefuseEval/data/codedatascience/{0}/{1}/{1}.jsonl"
)
STOP = ["</code>", "# SOLUTION END"]

LIBRARIES = {
    "Numpy": ("numpy", "pandas", "scipy", "matplotlib"),
    "Pandas": ("pandas",),
    "Scipy": ("scipy", "pandas"),
    "Sklearn": ("sklearn", "pandas"),
    "Matplotlib": ("matplotlib", "seaborn"),
    "Pytorch": ("torch",),
    "Tensorflow": ("tensorflow",),
}
"""What the programs and tests of each library import."""

LARGEST_FILE = 16 << 20
"""Bytes of one pickle."""
LARGEST_TAR = 2 << 30
"""Bytes of all that is in the tar."""

_RUN = """
import base64, io, os, pickle, sys, tokenize, types

parser = types.ModuleType("parser")  # Python's own is gone since 3.10; a test only wants the words
parser.suite = lambda code: code
parser.st2list = lambda code: [t.string for t in tokenize.generate_tokens(io.StringIO(code).readline)]
sys.modules["parser"] = parser
for name, data in files.items():
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as file:
        file.write(base64.b64decode(data))
os.makedirs("result", exist_ok=True)
for case in range(1, cases + 1):
    sys.argv = ["program.py", "--test_case", str(case)]
    exec(compile(context.replace("[insert]", answer), "<program>", "exec"), {"__name__": "__main__"})
scope = {}
exec(test, scope)
for case in range(1, cases + 1):
    with open(f"result/result_{case}.pkl", "rb") as result, open(f"ans/ans{case}.pkl", "rb") as expected:
        assert scope["test"](pickle.load(result), pickle.load(expected)) == 1, f"case {case}"
if words:
    assert scope["stringTest"](answer), "a word that the question forbids"
"""


@dataclass(frozen=True)
class DataScience:
    """The problems of one library, to be completed or to be filled in."""

    name: str
    library: str
    sha256: str
    insertion: bool = False

    def sources(self) -> tuple[Source, ...]:
        """The rows, and the tar of inputs and answers."""
        folder = "CodeInsertion" if self.insertion else "CodeCompletion"
        archive = f"ds1000-{'insertion' if self.insertion else 'completion'}-files.tar.xz"
        url = URL.format(folder, self.library)
        return (
            Source(f"ds1000/{folder}/{self.library}.jsonl", url, self.sha256),
            Source(f"ds1000/{archive}", f"codefuse-ai/codefuse-evaluation, as a tar of {folder},", None),
        )

    def problems(self, files: list[bytes], settings: Problems) -> list[Problem]:
        """All problems, in the file's order."""
        beside = _beside(files[1], self.library)
        rows = [json.loads(line) for line in files[0].decode().splitlines()]
        return [self._problem(row, beside[row["task_id"].rpartition("/")[2]]) for row in rows]

    def _problem(self, row: dict[str, Any], files: dict[str, str]) -> Problem:
        prefix, hole, suffix = (
            row["prompt"].partition("[insert]") if self.insertion else (row["prompt"], "", "")
        )
        cases = sum(name.startswith("ans/") for name in files)
        if not cases:  # every answer would pass
            raise ValueError(f"no answers for {row['task_id']}")
        given = {
            "context": row["code_context"],
            "test": row["test"],
            "files": files,
            "cases": cases,
            "words": row["test_type"] in ("2", "3") and "def stringTest" in row["test"],
        }
        return Problem(
            suite=self.name,
            problem=row["task_id"],
            prompt=f"{prefix.strip()}\n" if hole else prefix,
            suffix=f"\n{suffix.strip()}\n" if hole else None,
            test="\n".join(f"{name} = {value!r}" for name, value in given.items()),
            stop=STOP,
            extract="stripped",
            max_new_tokens=1024,
            seconds=60.0,
            reference=row["canonical_solution"],
            text=f"{row['prompt']}\n{row['canonical_solution']}\n{row['test']}",
        )

    def program(self, problem: Problem, answer: str) -> str:
        """Its cases one after the other, then its test, in one process."""
        return f"{problem.test}\nanswer = {answer!r}\n{_RUN}"

    def apart(self, problem: Problem, answer: str) -> tuple[str, Test] | None:
        """None: what the test compares is no plain data."""
        return None

    def spoiled(self, problem: Problem) -> str:
        """It gives up: some tests let any result pass."""
        return "raise ValueError"


def _beside(archive: bytes, library: str) -> dict[str, dict[str, str]]:
    """The files of each problem in base64, by their names beside its program; nothing is unpacked to disk.

    Raises:
        ValueError: it is no whole tar, or larger than one with these files.
    """
    try:
        return dict(_taken(archive, library))
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"a damaged tar: {error}") from None


def _taken(archive: bytes, library: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    total = 0
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            parts, total = member.name.split("/"), total + member.size
            if total > LARGEST_TAR or member.size > LARGEST_FILE:
                raise ValueError(f"{member.name[:100]!r} is too large")
            if len(parts) < 4 or parts[1] != library or not member.isfile():
                continue
            folder, _, number = parts[2].rpartition("_")
            content = tar.extractfile(member)
            if folder in ("input", "ans") and content is not None and parts[-1].endswith(".pkl"):
                found[number][f"{folder}/{parts[-1]}"] = base64.b64encode(content.read()).decode()
    return found


_SHA256: dict[str, dict[str, str]] = {
    "CodeCompletion": {
        "Numpy": "c07fd17fca7001b4c31d24f25e6d69a09e1f5e52445e7c0566d90981939b04c9",
        "Pandas": "9cc4439f166be651b4a7174aae8366f92056b0fddbcf5d7a7c5dcd5d0f79b253",
        "Scipy": "0c98ff92389fff19a02c8802e8d218363162842dff33c542e2e54285fd82adb5",
        "Sklearn": "48e3fb5fd77ef5bd1d2fcc9689a61789641aa5151c1b8cf474b24170bb07e045",
        "Matplotlib": "da580424c97e5791e9459d9514063b12bf761e1eefe57f8b642b78d1eb65f38e",
        "Pytorch": "62274752369f914b96c337e468b1f9192c422040959d75f4f07238b014333bb3",
        "Tensorflow": "3cc3aa54419e6ea6ccb6a73f1c7a978913b8e69eb8a4274b96dd7c0b9a245663",
    },
    "CodeInsertion": {
        "Numpy": "0a724d487ac136221e9319473e921f339ad3d35ead8ba477af94be6092237aee",
        "Pandas": "b90ab74d8806c12659fc7b0d8142bf7be220fd8c72a5c446e4460be6f4ee6967",
        "Scipy": "7a8575b54ec17548142ff1034f645c4ea25927fcd235399faf5c4ed66cc59aa2",
        "Sklearn": "f6a74bac664b63ed0936e089a735cf926ee00aaa09b83fbcc6e8c402216f0c58",
        "Matplotlib": "3dbf5b0d8f0d3a53dcc0a15e3b90467f462fac89ef249c56360dd3584992b85a",
        "Pytorch": "71ff10c65c8b03076e649b128caee1d67578f97e34eaca6d3cb2e8f2f7ce8ede",
        "Tensorflow": "3faeee6552dbe8f41477b9b8cb32da2b35dee2978cd8cc721970bf70ef2582d2",
    },
}

SUITES = {
    f"ds1000-{mode}{library.lower()}": DataScience(
        f"ds1000-{mode}{library.lower()}", library, sha256, insertion=bool(mode)
    )
    for mode, folder in (("", "CodeCompletion"), ("insertion-", "CodeInsertion"))
    for library, sha256 in _SHA256[folder].items()
}
NEEDS = {name: LIBRARIES[suite.library] for name, suite in SUITES.items()}
"""What must be installed for a suite to be run."""
