"""The settings of every verb of ``crawl``: what changes a result, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cyclopts import Parameter

from crawl.order import Strategy

PERMISSIVE = (
    "0BSD",
    "Apache-2.0",
    "Artistic-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-4-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "HPND",
    "ISC",
    "LicenseRef-public-domain",
    "MIT",
    "MIT-0",
    "NCSA",
    "PSF-2.0",
    "Python-2.0",
    "SMLNJ",
    "TCL",
    "Unicode-3.0",
    "Unlicense",
    "UPL-1.0",
    "WTFPL",
    "X11",
    "Zlib",
)
"""SPDX identifiers of licences that ask for no more than attribution."""


@dataclass(frozen=True, kw_only=True)
class GitHub:
    languages: tuple[str, ...] = ()
    """Languages to search for, by GitHub's names; each is a search of its own."""
    stars: int = 0
    """Repositories that a search or events give must have at least so many."""
    forks: bool = False
    """Also list forks."""
    created_from: str = "2008-01-01"
    """First day of creation."""
    created_until: str = "2023-01-31"
    """Last day of creation; DeepSeek took repositories created before February 2023 (P section 2.1)."""
    repos: Path | None = None
    """File with an owner/name a line, listed whatever their stars and age."""
    events: str = ""
    """Hours of GH Archive, as 2026-01-01-0/2026-01-31-23: list what was pushed to."""
    known: Path | None = None
    """An earlier table of repos: list those again; with `events`, ask only about what was pushed to."""
    api: str = "https://api.github.com"
    """Where GitHub's API is, or one that answers like it."""
    clone: str = "https://github.com"
    """Where its repositories are cloned from."""
    archive: str = "https://data.gharchive.org"
    """Where GH Archive is."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class List:
    packages: Path | None = None
    """TSV file of pinned package archives: registry, name, version, file, sha256 (bytes, license)."""
    pypi: tuple[str, ...] = ()
    """Names of packages on PyPI, each optionally with @VERSION: their source archives."""
    npm: tuple[str, ...] = ()
    """The same on npm."""
    debian: tuple[str, ...] = ()
    """The same among Debian's sources: upstream's own archives."""
    debian_suite: str = "stable"
    """Whose index names them."""
    git: tuple[str, ...] = ()
    """Git URLs, each optionally with @REVISION (a branch, tag or commit; HEAD if not given)."""
    folders: tuple[Path, ...] = ()
    """Local directories, each taken as one repo."""
    archives: tuple[Path, ...] = ()
    """Local archives (tar, zip), each taken as one repo."""
    datasets: tuple[str, ...] = ()
    """Tables of code: files or folders of parquet and jsonl, hf://datasets/OWNER/NAME[@REVISION][/PATTERN]."""
    github: GitHub = GitHub()
    """Discovery on GitHub: by search, from a list, from what was pushed to."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Fetch:
    max_file_bytes: int = 1 << 20
    """Larger files are rejected."""
    max_repo_bytes: int = 1 << 30
    """A repo that unpacks to more than this is rejected whole."""
    max_repo_files: int = 100_000
    """A repo with more files than this is rejected whole."""
    max_ratio: int = 200
    """An archive that unpacks to more than this many times its own size is rejected whole."""
    max_repo_seconds: float = 600.0
    """One request for a git repository may take this long."""
    missing: float = 0.0
    """Share of the repos that may be out of reach, each a reject; with more the verb refuses."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Filter:
    allow: tuple[str, ...] = PERMISSIVE
    """SPDX identifiers of the licences that may stay."""
    keep_unlicensed: bool = False
    """Keep files whose licence nothing states."""
    profiles: tuple[str, ...] = ("deepseek",)
    """Rules to go by, in order: deepseek, bigcode, opencoder, generated, vendored (crawl/rules.toml)."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Rules:
    profiles: tuple[str, ...] = ("deepseek", "bigcode", "opencoder", "generated", "vendored")
    """Rules to try, as in `crawl filter`."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Redact:
    seconds: float = 5.0
    """CPU time for parsing one file before and after; a file that took longer before is not compared."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Parse:
    max_bytes: int = 1 << 20
    """Larger files are not parsed (status too_large)."""
    max_slow_bytes: int = 200_000
    """The same for the languages whose grammars are ten times slower than the others."""
    seconds: float = 5.0
    """CPU time for one file; what takes longer is given up (status timeout)."""
    nodes: int = 0
    """Nodes of each file's tree whose place is kept, for `train pack --fim-cuts node`."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Order:
    strategy: Strategy = "topological"
    """Order of the files of a document: the paper's Algorithm 1, random as in Coder-V2, by path, or mixed:
    the directories at random, the files of each by Algorithm 1."""
    seed: int = 0
    """What `random` and `mixed` start from."""
    max_bytes: int = 1 << 20
    """Larger documents are not written whole (0 is no limit; the paper states none)."""
    oversize: Literal["split", "files"] = "split"
    """What they become: parts, cut in order; or a document for every file, as DeepSeek did above 32 KB."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Learn:
    held_out: float = 0.2
    """Share of the samples that nothing is learned from, to see what the scorer is worth."""
    seed: int = 0
    """What the order of the samples starts from."""


def _gates() -> dict[str, float]:
    # Where the grammar is a fair judge of real code.  Elsewhere macros, dialects and templates look like
    # errors: 5 % of the bytes is exceeded by 6 % of real C files, 16 % of C++, 25 % of CUDA, 80 % of SQL.
    fair = "c-sharp go haskell java javascript json lua perl php r ruby rust solidity thrift typescript"
    return {"python": 0.02} | dict.fromkeys(fair.split(), 0.05)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Screen:
    ngram: int = 10
    """Words in a row that a file may not share with a problem."""
    shortest: int = 3
    """Problem strings of at least this many words, and fewer than `ngram`, are matched exactly."""
    allow: tuple[str, ...] = (
        "return x + y",
        "return len(string)",
        "return n**2",
        "return ''.join(strings)",
    )
    """Problem strings that anybody would write; the same four as BigCode's."""
    min_score: float = 0.5
    """Files that the scorer gives less are rejected, where one is given."""
    max_error_share: dict[str, float] = field(default_factory=_gates)
    """By language: files with a larger share of bytes under syntax errors are rejected; others never."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Publish:
    contact: str = ""
    """How to ask for removal, as the card puts it: an address, or what to do."""
    title: str = "A corpus of source code"
    """What the card calls the dataset."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Mix:
    preset: str = ""
    """Shares of a name: `deepseek` has those of the paper's Table 1."""
    shares: dict[str, float] = field(default_factory=dict)
    """By language, its part of the whole, in any unit; where some have one, the others get nothing."""
    total: int = 0
    """Bytes that the shares are parts of; 0 is all bytes of the corpus."""
    cap: int = 0
    """Bytes that any one language may have; 0 is no limit."""
    caps: dict[str, int] = field(default_factory=dict)
    """By language, in place of `cap`."""
    seed: int = 0
    """Another seed keeps other documents."""
