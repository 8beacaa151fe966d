"""The verbs of ``crawl``: what each reads and writes.  The work is in the modules they import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import corpus
import crawl
import runfile
from crawl.config import Fetch, Filter, Learn, List, Mix, Order, Parse, Publish, Redact, Rules, Screen

app = runfile.stage("crawl", crawl.__doc__ or "")


@app.command(name="list")
def list_(
    dst: Path,
    /,
    *,
    settings: List = List(),
    cache: Annotated[Path | None, Parameter(env_var="FATHOM_CACHE")] = None,
) -> corpus.Table:
    """List the repos to fetch, each at one revision, from packages, git URLs, folders and GitHub.

    Args:
        dst: The table of repos to write.
        cache: Where answers of APIs are kept; ~/.cache/fathom if not given.
    """
    from crawl import listing

    return listing.list_repos(dst, settings, cache)


@app.command
def plan(
    src: Path,
    /,
    *,
    settings: Annotated[Fetch, Parameter(name="*")] = Fetch(),
    cache: Annotated[Path | None, Parameter(env_var="FATHOM_CACHE")] = None,
    like: Path | None = None,
) -> None:
    """Print what a fetch would cost in requests, bytes and hours, before anything travels.

    Args:
        src: The table of repos, from `crawl list`.
        cache: Where downloads are kept; what is there costs nothing.
        like: An earlier table of files, from `crawl fetch`: its measured rates are taken.
    """
    from crawl import plan

    print(plan.table(plan.estimate(src, settings, cache, like)))


@app.command
def fetch(
    src: Path,
    dst: Path,
    /,
    *,
    settings: Fetch = Fetch(),
    cache: Annotated[Path | None, Parameter(env_var="FATHOM_CACHE")] = None,
    optouts: Path | None = None,
    workers: int = 0,
) -> corpus.Table:
    """Download every listed repo and read its files as text, each with its language and licence.

    Args:
        src: The table of repos, from `crawl list`.
        dst: The table of files to write.
        cache: Where downloads are kept; ~/.cache/fathom if not given.
        optouts: The list of what must not be used; it may grow and nothing else.
        workers: Processes that read archives; 0 is one per processor.
    """
    from crawl import fetch

    return fetch.fetch_repos(src, dst, settings, cache, workers, optouts)


@app.command(name="filter")
def filter_(src: Path, dst: Path, /, *, settings: Filter = Filter(), workers: int = 0) -> corpus.Table:
    """Keep the files that pass the licence policy and the paper's rules (section 2.1).

    Args:
        src: The table of files, from `crawl fetch`.
        dst: The table of kept files to write.
        workers: Processes; 0 is one per processor.
    """
    from crawl import filter as filters

    return filters.filter_files(src, dst, settings, workers)


@app.command
def rules(src: Path, /, *, settings: Rules = Rules()) -> None:
    """Print what every rule would drop of a table, without dropping anything.

    fail: files that fail the rule; first: those that no earlier rule of its list has dropped; only: those
    that fail no other rule; share: of all bytes.

    Args:
        src: A table of files; one from `crawl filter` knows its signals, any other is read and measured.
    """
    from crawl import filter as filters

    print(filters.try_rules(src, settings))


@app.command
def redact(src: Path, dst: Path, /, *, settings: Redact = Redact(), workers: int = 0) -> corpus.Table:
    """Put placeholders for keys, tokens, passwords, e-mail and IP addresses.

    Args:
        src: The table of kept files, from `crawl filter`.
        dst: The table of redacted files to write.
        workers: Processes; 0 is one per processor.
    """
    from crawl import redact

    return redact.redact_files(src, dst, settings, workers)


@app.command
def parse(src: Path, dst: Path, /, *, settings: Parse = Parse(), workers: int = 0) -> corpus.Table:
    """Parse every file once: the share of it that is no valid syntax, and what it imports.

    Args:
        src: The table of redacted files, from `crawl redact`.
        dst: The table of what was parsed to write.
        workers: Processes, each with a parsing process that may be killed; 0 is one per processor.
    """
    from crawl import parse

    return parse.parse_files(src, dst, settings, workers)


@app.command
def order(
    src: Path, parsed: Path, dst: Path, /, *, settings: Order = Order(), workers: int = 0
) -> corpus.Table:
    """Join the files of a repo that import one another, imported files first (section 2.2).

    Args:
        src: The table of redacted files, from `crawl redact`.
        parsed: What `crawl parse` found in them.
        dst: The table of documents to write.
        workers: Processes; 0 is one per processor.
    """
    from crawl import documents

    return documents.order_repos(src, parsed, dst, settings, workers)


@app.command
def learn(labelled: Path, dst: Path, /, *, settings: Learn = Learn()) -> corpus.Table:
    """Learn a scorer of quality from labelled samples, for `crawl screen`.

    Args:
        labelled: A parquet or jsonl file with the columns text, language and good (true or false).
        dst: The scorer to write; its manifest says what it is worth on samples it has not seen.
    """
    from crawl import learn

    return learn.learn_scorer(labelled, dst, settings)


@app.command
def screen(
    src: Path,
    parsed: Path,
    problems: Path,
    dst: Path,
    /,
    *,
    settings: Screen = Screen(),
    scorer: Path | None = None,
    workers: int = 0,
) -> corpus.Table:
    """Cut contaminated and broken files out of the documents (section 2.4).

    Args:
        src: The table of documents, from `crawl order` or `dedup scan`.
        parsed: What `crawl parse` found in their files.
        problems: The table of problems that will judge the model, from `evals problems`.
        dst: The corpus to write.
        scorer: What `crawl learn` wrote; files that it finds too poor are rejected, too.
        workers: Processes; 0 is one per processor.
    """
    from crawl import screen

    return screen.screen_documents(src, parsed, problems, dst, settings, workers, scorer)


@app.command
def explain(out: Path, name: str, /) -> None:
    """Tell a file's life, verb by verb, with what decided at each, down to the tokens that hold it.

    Args:
        out: The directory that holds the tables of a run.
        name: REPO or REPO:PATH, as the tables call them.
    """
    from crawl import explain

    print(explain.explain(out, name))


@app.command
def optout(listed: Path, out: Path, /) -> None:
    """Take repos, owners, forks, commits, hashes and paths out of a run, rewriting only their shards.

    Args:
        listed: The list of opt-outs, one typed entry a line; `crawl fetch` is to be given the same one.
        out: The directory that holds the tables of the run.
    """
    from crawl import optout

    print(optout.opt_out(listed, out))


@app.command
def publish(src: Path, dst: Path, /, *, settings: Publish = Publish(), workers: int = 0) -> corpus.Table:
    """Write the corpus as a dataset that `datasets` streams, with a card, once it passed the last checks.

    Args:
        src: The corpus, from `crawl screen`, with the other tables of its run beside it.
        dst: The directory of the dataset to write.
        workers: Processes; 0 is one per processor.
    """
    from crawl import publish

    return publish.publish(src, dst, settings, workers)


@app.command
def mix(src: Path, dst: Path, /, *, settings: Mix = Mix(), workers: int = 0) -> corpus.Table:
    """Bring the languages of a corpus to their shares and caps.

    Args:
        src: The corpus, from `crawl screen`.
        dst: The corpus to write.
        workers: Processes; 0 is one per processor.
    """
    from crawl import mix

    return mix.mix(src, dst, settings, workers)
