"""From what was found in the tables to the page: charts, formats, and the door that all text goes through.

Paths, code and completions on the page are hostile.  ``figures.visible`` shows control and direction
characters instead of obeying them, the template engine escapes every value, and a content policy in the
page forbids scripts and requests altogether.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from corpus import Table
from evals import account, compare, figures, outcomes, relations
from evals.account import PAPER, Tables
from evals.config import Report
from evals.figures import Interval, Series
from evals.outcomes import VERDICTS, Score, Training
from printable import visible

SHAPE = {
    "model_type": "architecture",
    "hidden_size": "width",
    "intermediate_size": "inner width",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "num_key_value_heads": "key and value heads",
    "vocab_size": "vocabulary",
    "max_position_embeddings": "longest sequence",
}
"""What of a ``config.json`` the page tells, in its own words."""

COST = {
    "parameters": "parameters",
    "steps": "steps",
    "epochs": "epochs",
    "seconds": "seconds",
    "tokens_per_second": "tokens a second, median step",
    "device": "device",
    "threads": "threads",
}
"""What of the model's manifest it tells."""


MODES = {
    "text": "left to right",
    "psm": "prefix, suffix, middle",
    "spm": "suffix, prefix, middle",
    "chat": "dialogue",
}
"""How pieces are arranged, in the page's words."""


class Headline(NamedTuple):
    """One of the figures that the page opens with, and that the verb answers with."""

    what: str
    figure: str
    more: str


class Excerpt(NamedTuple):
    """A text that fits on the page, and how many characters of its middle do not."""

    text: str
    left_out: int


def render(tables: Tables, settings: Report, headline: list[Headline], against: Table | None = None) -> str:
    """The page about ``tables``, as HTML; ``against`` are the verdicts that they are compared with."""
    here = Path(__file__).parent
    style = re.search("<style>(.*?)</style>", (here / "page.html").read_text(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    told: dict[str, Any] = {"headline": headline, "style_hash": f"sha256-{digest}", "charts": {}}
    for part in (_files, _duplicates, _order, _training, _verdicts, _provenance):
        found = part(tables, settings)
        told["charts"] |= found.pop("charts", {})
        told |= found
    told |= _comparison(tables, against)
    page: str = _environment(here, settings).get_template("page.html").render(told)
    return page


def _environment(here: Path, settings: Report) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value: f"{value:,}",
        "size": size,
        "percent": percent,
        "duration": duration,
        "clipped": figures.clipped,
        "start": lambda text, most: text if len(text) <= most else text[: most - 1] + "…",
        "shortened": lambda text: shortened(text, settings.characters),
        "bar": figures.share,
    }
    return environment


# ----------------------------------------------------------------------------------------- formats


def shortened(text: str, most: int) -> Excerpt:
    """The beginning and the end of a long text; the beginning gets two thirds."""
    if len(text) <= most:
        return Excerpt(text, 0)
    head, tail = most * 2 // 3, most // 3
    return Excerpt(f"{text[:head]}\n⋯\n{text[len(text) - tail :]}", len(text) - head - tail)


def size(value: float) -> str:
    """Bytes in decimal units, as the paper counts them.

    >>> size(812), size(1_234_567)
    ('812 B', '1.23 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} TB"


def percent(value: float) -> str:
    """A share as percent; what is there is never printed as nothing.

    >>> percent(0.1234), percent(0.00001), percent(0)
    ('12.3 %', '< 0.1 %', '0.0 %')
    """
    return "< 0.1 %" if 0 < value < 0.0005 else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """Seconds as a person would say them.

    >>> duration(42.4), duration(600), duration(8000)
    ('42 s', '10 min', '2 h 13 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


# ---------------------------------------------------------------------------------------- sections


def _files(tables: Tables, settings: Report) -> dict[str, Any]:
    """Sections 1 and 2: the funnel, the rejects, the languages."""
    steps = account.funnel(tables)
    last = account.last_of(tables)
    languages = account.languages(last) if last else []
    names = {one.name for one in languages}
    files = [(step.verb, step.files, f"{step.files:,}") for step in steps]
    text = [(step.verb, step.bytes, size(step.bytes)) for step in steps]
    if steps and steps[0].came_in is not None:
        first, whole = steps[0], steps[0].bytes + steps[0].dropped_bytes
        files.insert(0, ("before " + first.verb, steps[0].came_in, f"{steps[0].came_in:,}"))
        text.insert(0, ("before " + first.verb, whole, size(whole)))
    return {
        "funnel": steps,
        "rejects": account.rejects(tables),
        "languages": languages,
        "last_verb": last.manifest["made_by"] if last else "",
        "of_paper": sum(one.paper is not None for one in languages),
        "longest_share": max((max(one.share, _theirs(one)) for one in languages), default=1.0),
        "missing_languages": [row[0] for row in PAPER["languages"].values() if row[0] not in names],
        "charts": {
            "files": figures.bars("Files after each verb", "files", files),
            "bytes": figures.bars("Bytes after each verb", "bytes", text),
        },
    }


def _theirs(language: account.Language) -> float:
    return language.paper[2] / 100 if language.paper else 0.0


def _duplicates(tables: Tables, settings: Report) -> dict[str, Any]:
    """Section 3."""
    found = relations.duplicates(tables)
    drawn = Markup("")
    if found and any(found.histogram):
        title = "Similarity of near duplicates to their keepers"
        drawn = figures.histogram(title, "Jaccard similarity", "rows", found.edges, found.histogram)
    return {"duplicates": found, "charts": {"similarity": drawn}}


def _order(tables: Tables, settings: Report) -> dict[str, Any]:
    """Section 4."""
    found = relations.order(tables)
    parsed = account.parsed(tables)
    if found is None:
        return {"order": None, "parsed": parsed}
    earlier, later = (found.places.get(place, 0) for place in ("earlier", "later"))
    return {
        "order": found,
        "parsed": parsed,
        "earlier": earlier,
        "inside": earlier + later,
        "across": sum(found.places.get(place, 0) for place in ("earlier_part", "later_part")),
        "upward": any(imported > importer for imported, importer in found.arcs),
        "charts": {"order": figures.arcs(f"Imports inside {found.repo}", found.files, found.arcs)},
    }


def _training(tables: Tables, settings: Report) -> dict[str, Any]:
    """Section 5."""
    found, effects = outcomes.training(tables), outcomes.ablation(tables)
    if found is None:
        return {"training": None, "effects": effects}
    losses = [Series("training", found.curve("loss")), Series("held out", found.curve("valid_loss"))]
    level = ("unigram entropy", found.entropy) if found.entropy is not None else None
    languages = {name: curve[-1][1] for name, curve in found.held_out("language").items()}
    modes = [Series(MODES.get(name, name), curve) for name, curve in found.held_out("mode").items()]
    return {
        "training": found,
        "effects": effects,
        "final_loss": found.final_loss(),
        "training_rows": _training_rows(found, outcomes.packed(tables)),
        "charts": {
            "loss": figures.curves("Loss", "tokens", "nats a token", losses, level),
            "languages": figures.bars(
                "Held-out loss by language, at the end",
                "nats a token",
                [(name, last, f"{last:.3f}") for name, last in languages.items()],
            )
            if languages
            else "",
            "modes": figures.curves("Held-out loss by arrangement", "tokens", "nats a token", modes),
            "lr": _curve(found, "lr", "Learning rate", ""),
            "norm": _curve(found, "norm", "Gradient norm, before it is clipped to 1", ""),
            "speed": _curve(found, "tokens_per_second", "Speed", "tokens a second"),
        },
    }


def _curve(model: Training, key: str, title: str, label: str) -> Markup:
    return figures.curves(title, "tokens", label, [Series(title, model.curve(key))])


def _training_rows(model: Training, packed: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Shape, size and cost, as name and value."""
    told = {key: name for key, name in SHAPE.items() if model.config.get(key) is not None}
    rows = [(name, _plain(model.config[key])) for key, name in told.items()]
    cost = {key: name for key, name in COST.items() if model.manifest.get(key) is not None}
    rows += [(name, _plain(model.manifest[key])) for key, name in cost.items()]
    tokens = model.last("tokens")
    if tokens is not None:
        rows.append(("tokens trained on, padding included", _plain(tokens)))
    speed, waited, seconds = (model.median(key) for key in ("tflops", "data_wait", "seconds"))
    if speed is not None:
        rows.append(("model FLOPs a second of each device, median step", f"{speed:.3g} × 10¹²"))
    if (share := model.median("mfu")) is not None:
        rows.append(("their share of what the device can do (MFU)", percent(share)))
    if waited is not None and seconds:
        rows.append(("time that waits for data, median step", percent(waited / seconds)))
    if packed:
        rows.append(("packed for training", f"{packed['tokens']:,} tokens, {packed['sequences']:,} rows"))
        rows.append(("rows filled", percent(packed["fill"])))
        rows.append(("tokens in fill-in-the-middle", percent(packed["fim_share"])))
    return rows


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def _verdicts(tables: Tables, settings: Report) -> dict[str, Any]:
    """Section 6."""
    if "evals judge" not in tables:
        return {"suites": []}
    counts = outcomes.verdict_counts(tables["evals judge"])
    suites = list(outcomes.samples(tables, settings.samples))
    scores, sizes = outcomes.scores(tables), outcomes.suite_sizes(tables)
    total = sum(sum(found.values()) for found in counts.values())
    return {
        "suites": suites,
        "scores": scores,
        "verdict_counts": counts,
        "verdicts": [name for name in VERDICTS if any(name in found for found in counts.values())],
        "sampled": "evals sample" in tables,
        "source": outcomes.source(tables),
        "sandbox": tables["evals judge"].manifest.get("sandbox", {}),
        "suite_sizes": sizes,
        "left_out_suites": [suite for suite, size in sizes.items() if not size],
        "samples_left_out": total - sum(len(found) for _, found in suites),
        "charts": {"scores": _score_chart(scores, outcomes.source(tables))},
    }


def _comparison(tables: Tables, against: Table | None) -> dict[str, Any]:
    """The end of section 6: this run beside another."""
    if against is None or "evals judge" not in tables:
        return {"comparisons": [], "moved": []}
    runs = against, tables["evals judge"]
    return {"comparisons": compare.comparisons(*runs), "moved": list(compare.moved(*runs))}


def _score_chart(scores: list[Score], source: str) -> Markup:
    """Ours with their intervals, and the paper's base models on the same suites."""
    source = "this model" if source == "model" else f"{source} samples"
    drawn = Markup("")
    for suite in dict.fromkeys(score.suite for score in scores):
        ours = [
            Interval(f"{source}, pass@{one.k}", *(100 * x for x in (one.value, one.low, one.high)))
            for one in scores
            if one.suite == suite and one.rule == "strict"
        ]
        theirs = [Interval(name, value) for name, value in PAPER["scores"].get(suite, {}).items()]
        drawn += figures.intervals(f"{suite}, beside the paper's pass@1", "problems solved, %", ours, theirs)
    return drawn


def _provenance(tables: Tables, settings: Report) -> dict[str, Any]:
    """The head and section 7."""
    manifests = [table.manifest for table in tables.values()]
    resolved = json.dumps({one["made_by"]: one["settings"] for one in manifests}, sort_keys=True)
    last = account.last_of(tables)
    licences = account.licences(last) if last else []
    links = outcomes.chain(tables)
    return {
        "run": {
            "version": ", ".join(sorted({one["fathom"] for one in manifests})),
            "date": max(one["finished"] for one in manifests)[:10],
            "tables": len(tables),
            "seconds": sum(one["seconds"] for one in manifests),
            "settings": hashlib.sha256(resolved.encode()).hexdigest()[:12],
        },
        "chain": links,
        "strangers": [f"{one.verb} was made from another {name}" for one in links for name in one.strangers],
        "licences": licences,
        "licensed_bytes": max(1, sum(bytes_ for _, bytes_ in licences)),
    }
