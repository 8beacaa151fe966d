"""The page about a run, drawn from real small tables that hold one of everything, and hostile strings."""

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import corpus
from evals import account, figures, outcomes, relations, report
from evals.config import Report
from schemas import SCHEMAS

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
REPO = "pypi/sea@1.0"
SEA = {
    "sea/base.py": "zero = 0\n",
    "sea/deep.py": "import sea.base\n\ndef depth():\n    return sea.base.zero\n",
    f"sea/{HOSTILE}.py": "import sea.deep\n# \u202egnp.exe\n",
    **{f"sea/fish{n}.py": f"import sea.base\nfish = {n}\n" for n in range(6)},
}
"""The files of one document, in order."""
LINES = [f"def line_{n}(): return {n}" for n in range(30)]
TWINS = {"one.py": "\n".join(LINES), "two.py": "\n".join([*LINES[:20], HOSTILE, *LINES[20:]])}
UNFIT = {"long.py": "x" * 2000, "gpl.py": "y = 1\n"}


def made(root: Path, verb: str, table: str, inputs: list[Path], contents: Any, **more: Any) -> Path:
    """A sealed table of one unit, made by ``verb``, below ``root``."""
    path = root / verb.replace(" ", "-")
    sources = [corpus.read(source) for source in inputs]
    settings = more.pop("settings", {"of": verb})
    with corpus.building(path, table, made_by=verb, settings=settings, inputs=sources) as out:
        assert isinstance(out, corpus.Output)
        out.write("unit", contents, came_in=more.pop("came_in", 0), went_out=more.pop("went_out", None))
        out.seal(**more)
    return path


def rows(table: str, found: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(found, schema=SCHEMAS[table])


def files(texts: dict[str, str]) -> pa.Table:
    same = {"repo": REPO, "revision": "sha256:0", "language": "python", "license": "MIT", "encoding": "utf-8"}
    each = [{"path": path, "text": text, "bytes": len(text.encode())} for path, text in texts.items()]
    return rows("files", [same | one | {"sha256": "0", "lines": 1} for one in each])


def document(name: str, texts: dict[str, str]) -> dict[str, Any]:
    text, spans = "", []
    for path, content in texts.items():
        text += f"# {path}\n"
        spans.append({"path": path, "start": len(text), "end": len(text) + len(content)})
        text += content
    same = {"repo": REPO, "revision": "sha256:0", "part": 0, "level": "repo", "language": "python"}
    return same | {"id": name, "license": "MIT", "text": text, "files": spans, "bytes": len(text.encode())}


def dropped(verb: str, *found: tuple[str, str, str | None, int, int]) -> pa.Table:
    return corpus.rejects(found, verb)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directories of a whole run, by verb."""
    root = tmp_path_factory.mktemp("run")
    return data(root) | model(root) | verdicts(root)


def data(root: Path) -> dict[str, Path]:
    """From archives to the corpus; every verb but `crawl redact` and `crawl order` drops something."""
    joined = [document("sea", SEA), *(document(path, {path: text}) for path, text in TWINS.items())]
    pairs = [("sea/deep.py", "sea/base.py"), ("sea/base.py", "sea/deep.py")]
    pairs += [
        (f"sea/{HOSTILE}.py", "sea/deep.py"),
        *((path, "sea/base.py") for path in SEA if "fish" in path),
    ]
    edges = [{"repo": REPO, "importer": importer, "imported": imported} for importer, imported in pairs]
    same = {"cluster": "one.py", "keeper": "one.py", "level": "near", "exact": True}
    clusters = [
        same | {"id": "one.py", "kept": True, "similarity": 1.0},
        same | {"id": "two.py", "kept": False, "similarity": 0.91},
    ]
    binary = dropped("crawl fetch", (f"{REPO}:{HOSTILE}.bin", "binary", None, 1, 7))
    unfit = dropped(
        "crawl filter", ("long.py", "long_line", "2000", 1, 2000), ("gpl.py", "license", None, 1, 6)
    )
    near = dropped("dedup scan", ("two.py", "near", "one.py 0.910", 1, joined[2]["bytes"]))
    tainted = dropped("crawl screen", ("one.py", "contaminated", "HumanEval/1", 1, joined[1]["bytes"]))
    contents = {"": files(SEA | TWINS | UNFIT), "rejects": binary}
    fetch = made(root, "crawl fetch", "files", [], contents, came_in=14)
    contents = {"": files(SEA | TWINS), "rejects": unfit}
    kept = made(root, "crawl filter", "files", [fetch], contents, came_in=13)
    contents = {"": files(SEA | TWINS), "rejects": dropped("crawl redact")}
    redacted = made(root, "crawl redact", "files", [kept], contents, came_in=11)
    worth = [
        {"repo": REPO, "strategy": strategy, "imports": 10, "earlier": near + 1, "near": near}
        for strategy, near in (("topological", 8), ("random", 3))
    ]
    contents = {"": rows("documents", joined), "edges": rows("edges", edges), "reach": rows("reach", worth)}
    taken = {"strategy": "random"}
    order = made(
        root, "crawl order", "documents", [redacted], contents, came_in=11, went_out=11, settings=taken
    )
    contents = {"": rows("documents", joined[:2]), "clusters": rows("clusters", clusters), "rejects": near}
    unique = made(root, "dedup scan", "documents", [order], contents, came_in=3)
    contents = {"": rows("corpus", joined[:1]), "rejects": tainted}
    screen = made(root, "crawl screen", "corpus", [unique], contents, came_in=10, went_out=9)
    return dict(zip(account.FUNNEL, (fetch, kept, redacted, order, unique, screen), strict=True))


def model(root: Path) -> dict[str, Path]:
    lines = [{"step": n, "tokens": n * 100, "loss": 3 / n, "lr": 1e-3} for n in range(1, 60)]
    lines[-1]["valid_loss"] = 0.25
    by = {"language": {"rust": 0.3125, HOSTILE: 0.375}, "mode": {"text": 0.4, "psm": 0.1}}
    lines[-1]["valid_loss_by"] = by
    clocks = {"seconds": 2.0, "data_wait": 0.5, "tokens_per_second": 50.0, "tflops": 0.125, "mfu": 0.4321}
    seconds = [{"step": line["step"], **clocks} for line in lines]
    contents = {
        "measured/seconds.jsonl": "\n".join(json.dumps(line) for line in seconds).encode(),
        "metrics.jsonl": "\n".join(json.dumps(line) for line in lines).encode(),
        "config.json": json.dumps({"model_type": "llama", "hidden_size": 64}).encode(),
    }
    facts = {"unigram_entropy": 0.693, "parameters": 1_000_000, "device": "cpu"}
    return {"train pretrain": made(root, "train pretrain", "model", [], contents, **facts)}


def verdicts(root: Path) -> dict[str, Path]:
    """Two problems of HumanEval, one passed; MBPP was asked for and is not there."""
    named = [{"suite": "humaneval", "problem": f"HumanEval/{n}", "sample": 0} for n in (10, 2)]
    bare = dict.fromkeys(("header", "test", "text", "extract"), "")
    posed = {"language": "python", "prompt": f"def f():\n    {HOSTILE}", "chat": False} | bare
    posed |= {"max_new_tokens": 500, "seconds": 10.0}
    asked = [{key: one[key] for key in ("suite", "problem")} | posed | {"stop": ["\ndef"]} for one in named]
    written = {"completion": f"    return 1 # {HOSTILE}\ndef beyond(): pass", "finish": "stop"}
    rules = {"as_published": "passed", "flagged": False}
    judged = [
        named[0] | rules | {"strict": "passed", "detail": None, "program": "x = 1"},
        named[1]
        | rules
        | {"strict": "failed", "detail": f"AssertionError: {HOSTILE}", "program": "y" * 9000},
    ]
    score = {
        "suite": "humaneval",
        "rule": "strict",
        "k": 1,
        "value": 0.5,
        "low": 0.095,
        "high": 0.905,
        "interval": "wilson",
    }
    contents, left_out = {"": rows("problems", asked)}, {"mbpp": "its publisher is out of reach"}
    problems = made(root, "evals problems", "problems", [], contents, left_out=left_out)
    contents = {"": rows("samples", [one | written for one in named])}
    samples = made(root, "evals sample", "samples", [problems], contents)
    contents = {"": rows("verdicts", judged)}
    facts = {"scores": [score | {"problems": 2, "samples": 2}], "sandbox": {"tier": "namespaces"}}
    judge = made(root, "evals judge", "verdicts", [problems, samples], contents, **facts)
    return {"evals problems": problems, "evals sample": samples, "evals judge": judge}


class Elements(HTMLParser):
    """What a browser would see: the elements with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def drawn(paths: list[Path], dst: Path) -> str:
    return (report.write_report(paths, dst, Report()).path / "index.html").read_text()


@pytest.fixture(scope="session")
def whole(run: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page about the whole run."""
    return drawn(list(run.values()), tmp_path_factory.mktemp("page"))


def given(run: dict[str, Path], *verbs: str) -> dict[str, corpus.Table]:
    return {verb: corpus.read(run[verb]) for verb in verbs}


def test_hostile_paths_completions_and_reasons_make_no_element(whole: str) -> None:
    tags = {tag for tag, _ in Elements(whole).found}
    assert tags.isdisjoint({"script", "img", "iframe", "object", "base", "form"})
    assert not [
        name for _, attributes in Elements(whole).found for name in attributes if name.startswith("on")
    ]
    assert Elements(whole).text.count(HOSTILE) >= 6  # as text: a reject, a path, a diff, prompts, completions


def test_the_page_tells_what_the_journal_does(whole: str) -> None:
    text = Elements(whole).text
    for title in ("Held-out loss by language", "Held-out loss by arrangement", "Speed"):
        assert title in text
    assert "0.312" in text and "43.2 %" in text and "25.0 %" in text and "0.125 × 10¹²" in text


def test_effects_of_recipes_are_a_table(tmp_path: Path) -> None:
    effect = {"axis": "fim_rate", "value": "0.0", "first": "0.5", "probe": "infill", "base": 6.5}
    effect |= {"difference": 0.25, "low": -0.125, "high": 0.625, "seeds": 4}
    made(tmp_path, "train ablate", "ablation", [], {"effects.md": b"|"}, effects=[effect])
    text = Elements(drawn([tmp_path / "train-ablate"], tmp_path / "page")).text
    assert "Recipes compared" in text and "+0.2500 (-0.1250 to +0.6250)" in text


def test_every_verdict_can_be_shown_alone() -> None:
    page = Path(report.__file__).with_name("page.html").read_text()
    for name in outcomes.VERDICTS:
        assert f"body:has(#only-{name}:checked) .sample:not(.{name})" in page


def test_characters_that_reorder_text_are_spelt_out(whole: str) -> None:
    assert figures.visible("a\u202eb\x1b[2J\n") == "a\\u202eb\\x1b[2J\n"
    assert "\u202e" not in whole


def test_the_page_asks_for_nothing_and_its_policy_allows_only_its_own_style(whole: str) -> None:
    for _, attributes in Elements(whole).found:
        for name in ("href", "src", "action", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,"))
    style = re.search("<style>(.*?)</style>", whole, re.DOTALL)
    assert style is not None and "url(" not in style[1] and "@import" not in style[1]
    digest = hashlib.sha256(style[1].encode()).digest()
    policy = next(a["content"] for t, a in Elements(whole).found if a.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{b64encode(digest).decode()}'" in policy
    assert not [attributes for _, attributes in Elements(whole).found if "style" in attributes]


def test_all_elements_are_closed_in_order(whole: str) -> None:
    class Nesting(HTMLParser):
        open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("meta", "link", "br", "input"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    nesting = Nesting()
    nesting.feed(whole)
    assert nesting.open == []


def test_the_same_tables_in_another_order_give_the_same_page(
    run: dict[str, Path], whole: str, tmp_path: Path
) -> None:
    assert drawn(list(reversed(run.values())), tmp_path) == whole


@pytest.mark.parametrize("verb", ["crawl fetch", "dedup scan", "train pretrain", "evals judge"])
def test_a_table_alone_makes_a_page_without_empty_sections_that_says_what_is_not_there(
    run: dict[str, Path], tmp_path: Path, verb: str
) -> None:
    page = drawn([run[verb]], tmp_path)
    told = page.partition("Not here, because")[2].partition("</p>")[0]
    section = {"dedup scan": "duplicates", "train pretrain": "training", "evals judge": "verdicts"}
    for name, title in {"crawl fetch": "files", **section}.items():
        mine = verb == name or (name == "crawl fetch" and verb == "dedup scan")
        assert (f'<section id="{title}">' in page) == mine
        assert title == "files" or (f"{title} (" in told) == (not mine)
    numbers = re.findall(r'<span class="number">(\d+)</span>', page)
    assert numbers == [str(n) for n in range(1, len(numbers) + 1)] and len(numbers) >= 2
    assert ("✓ holds" in page) == (verb == "crawl fetch")  # the others' inputs are not here to compare with


def test_every_section_of_a_whole_run_has_something_to_show(whole: str) -> None:
    assert "Not here, because" not in whole and whole.count("<h2>") == 7
    # Files, bytes, similarity, order; loss, its languages and arrangements, learning rate, speed; scores.
    assert whole.count('role="img"') == 10


def test_files_in_are_files_out_and_rejects_at_every_step(run: dict[str, Path]) -> None:
    steps = account.funnel(given(run, *account.FUNNEL))
    assert [step.missing for step in steps] == [0] * len(account.FUNNEL)
    assert [step.files for step in steps] == [13, 11, 11, 11, 10, 9]


def test_a_file_that_vanished_is_told(run: dict[str, Path], tmp_path: Path) -> None:
    nine = {"": rows("documents", [document("sea", SEA)]), "edges": rows("edges", [])}
    lost = made(tmp_path, "crawl order", "documents", [run["crawl redact"]], nine)
    assert "✗ 2 files unaccounted for" in drawn([run["crawl redact"], lost], tmp_path / "page")


def test_a_table_of_another_run_is_told(run: dict[str, Path], tmp_path: Path) -> None:
    other = made(tmp_path, "crawl redact", "files", [], {"": files({"a.py": "b"})})
    page = drawn([other, run["crawl order"]], tmp_path / "page")
    assert "not of one run: crawl order was made from another crawl redact" in page


def test_the_order_drawn_is_that_of_the_document_with_its_cycle(run: dict[str, Path]) -> None:
    order = relations.order(given(run, "crawl order"))
    assert order is not None and order.files[:2] == ["sea/base.py", "sea/deep.py"]
    assert order.places == {"earlier": 8, "later": 1}
    assert [(row["strategy"], row["near"], row["taken"]) for row in order.reach] == [
        ("topological", 8, False),
        ("random", 3, True),
    ]
    assert order.imports_of(1) == [0] and order.imports_of(0) == [1]


def test_the_pair_shown_is_the_keeper_beside_the_dropped_document(run: dict[str, Path]) -> None:
    found = relations.duplicates(given(run, "crawl order", "dedup scan"))
    assert found is not None and found.pair is not None
    changed = [(left.text, right.text) for kind, left, right in found.pair.lines if kind == "changed"]
    assert ("", HOSTILE) in changed
    assert sum(found.histogram) == 1 and found.edges[0] == 0.9  # bins start where there is something


def test_a_completion_is_split_at_its_first_stop_and_problems_count_like_people(run: dict[str, Path]) -> None:
    ((suite, samples),) = outcomes.samples(
        given(run, "evals judge", "evals sample", "evals problems"), most=9
    )
    assert suite == "humaneval" and [one.problem for one in samples] == ["HumanEval/2", "HumanEval/10"]
    assert samples[0].rest == "\ndef beyond(): pass"


def test_a_suite_that_could_not_be_had_is_named(whole: str) -> None:
    assert "because its problems could not be had: mbpp." in whole


def test_long_texts_lose_their_middle_with_a_note(whole: str) -> None:
    assert "6,000 characters from the middle are not shown" in whole
    assert "y" * 3001 not in whole


def test_the_answer_names_the_page_and_the_headline_figures(run: dict[str, Path], tmp_path: Path) -> None:
    paths = list(run.values())
    told = report.answer(report.write_report(paths, tmp_path, Report()))
    assert told.splitlines()[0] == str(tmp_path / "index.html")
    assert "files into the corpus: 14 → 9" in told
    assert "final loss, held out: 0.250 nats (unigram entropy 0.693)" in told
    assert "humaneval, pass@1: 50.0 % (95 % interval 9.5 to 90.5)" in told
    assert told == report.answer(report.write_report(paths, tmp_path, Report()))  # up to date, same answer


def test_two_tables_of_one_verb_are_refused(run: dict[str, Path], tmp_path: Path) -> None:
    other = made(tmp_path, "crawl fetch", "files", [], {"": files({})})
    with pytest.raises(corpus.Refusal, match="were both made by crawl fetch: give the report one"):
        report.write_report([run["crawl fetch"], other], tmp_path / "page", Report())


def test_a_forgotten_destination_clears_no_table(run: dict[str, Path]) -> None:
    with pytest.raises(corpus.Refusal, match="name the report's directory last"):
        report.write_report([run["crawl fetch"]], run["crawl filter"], Report())
    corpus.read(run["crawl filter"])


def test_the_paper_s_table_sums_to_what_the_paper_states() -> None:
    table = account.PAPER["languages"].values()
    assert len(table) == 87
    assert sum(gb for _, gb, _, _ in table) == pytest.approx(797.92, abs=0.1)
    assert sum(thousands for _, _, thousands, _ in table) == pytest.approx(603_173, abs=87)
    assert sum(share for *_, share in table) == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize(("finish", "shown"), [("stop", "a"), ("given", "a\ndef b(): pass")])
def test_page_cuts_a_completion_only_where_the_judge_did(finish, shown):
    judged = {"as_published": "failed", "strict": "failed", "cpu_seconds": None, "memory_bytes": None}
    row = {"problem": "p", "sample": 0, "detail": None, "program": ""} | judged
    made = {"completion": "a\ndef b(): pass", "finish": finish, "stop": ["\ndef"]}
    assert outcomes._sample(row | made).completion == shown
