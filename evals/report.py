"""One page about a run: tables in, a single HTML file out, to send to a colleague.

Any subset of a run's tables will do, in any order: each says in its manifest which verb made it, and
the page says plainly what was not given.  The page is a function of the tables; dates and seconds on it
come from their manifests.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import corpus
from corpus import Refusal, Table
from evals import account, outcomes, page
from evals.account import Tables
from evals.config import Report, check
from evals.figures import compact
from evals.outcomes import Training
from evals.page import Headline, duration, percent, size
from printable import visible

ORDER = (
    "crawl list",
    "crawl fetch",
    "crawl filter",
    "crawl redact",
    "crawl parse",
    "crawl order",
    "dedup scan",
    "evals problems",
    "crawl screen",
    "train tokenizer",
    "train pack",
    "train pretrain",
    "train instruct",
    "train ablate",
    "evals sample",
    "evals judge",
)
"""The verbs of a run, as the chain of manifests is told."""


def write_report(sources: Iterable[Path], dst: Path, settings: Report) -> Table:
    """Draw the page from the finished tables at ``sources``.

    Raises:
        Refusal: a source is not a finished table, two were made by the same verb, or ``dst`` is a table.
    """
    check(settings)
    _refuse_table(dst)
    tables = by_verb(corpus.read(path) for path in sources)
    against = corpus.read(settings.against, "verdicts") if settings.against else None
    inputs = [*tables.values(), *([against] if against else [])]
    with corpus.building(dst, "report", made_by="evals report", settings=settings, inputs=inputs) as out:
        if isinstance(out, Table):
            return out
        headline = headlines(tables)
        drawn = page.render(tables, settings, headline, against)
        out.write("page", {"index.html": drawn.encode()}, came_in=len(tables), went_out=1)
        return out.seal(headline=[one._asdict() for one in headline])


def answer(report: Table) -> str:
    """The path of the page and its headline figures, as plain text."""
    lines = [str(report.path / "index.html")]
    lines += [
        f"{one['what']}: {one['figure']}" + (f" ({one['more']})" if one["more"] else "")
        for one in report.manifest["headline"]
    ]
    return "\n".join(visible(line) for line in lines)


def by_verb(found: Iterable[Table]) -> dict[str, Table]:
    """The tables by the verb that made them, in the order of the pipeline."""
    tables: dict[str, Table] = {}
    for table in found:
        verb = str(table.manifest["made_by"])
        if verb in tables:
            raise Refusal(
                f"{tables[verb].path} and {table.path} were both made by {verb}: give the report one of them."
            )
        tables[verb] = table
    if not tables:
        raise Refusal("no tables to report on: give the directories that the verbs of a run wrote.")
    place = {verb: number for number, verb in enumerate(ORDER)}
    return dict(sorted(tables.items(), key=lambda item: (place.get(item[0], len(ORDER)), item[0])))


def headlines(tables: Tables) -> list[Headline]:
    """Files, tokens, loss and scores: what a reader wants to know first."""
    found = []
    steps = account.funnel(tables)
    if steps:
        came_in = steps[0].came_in
        into = f"{steps[-1].files:,}" if came_in is None else f"{came_in:,} → {steps[-1].files:,}"
        more = f"{size(steps[-1].bytes)} of text after {steps[-1].verb}"
        found.append(Headline("files into the corpus", into, more))
    model = outcomes.training(tables)
    if model is not None:
        tokens, loss = model.last("tokens"), model.final_loss()
        if tokens is not None:
            found.append(Headline("tokens trained on", compact(tokens), _cost(model)))
        if loss is not None:
            beside = "" if model.entropy is None else f"unigram entropy {model.entropy:.3f}"
            found.append(Headline(f"final loss, {loss[0]}", f"{loss[1]:.3f} nats", beside))
    source = outcomes.source(tables)
    for score in outcomes.scores(tables):
        if score.k == 1 and score.rule == "strict":
            between = f"95 % interval {100 * score.low:.1f} to {100 * score.high:.1f}"
            of = "pass@1" if source == "model" else f"pass@1 of {source} samples"
            found.append(Headline(f"{score.suite}, {of}", percent(score.value), between))
    return found


def _cost(model: Training) -> str:
    parameters = model.manifest.get("parameters")
    spent = f"in {duration(model.manifest['seconds'])}"
    return spent if parameters is None else f"{spent}, {compact(parameters)} parameters"


def _refuse_table(dst: Path) -> None:
    """Whoever forgets the destination names a table last; writing a report there would clear it."""
    for witness in (dst / "manifest.json", dst / ".plan.json"):
        if witness.exists() and '"made_by": "evals report"' not in witness.read_text():
            raise Refusal(f"{dst} is a table that another verb wrote: name the report's directory last.")
