"""The page about a run, drawn from real small tables that hold one of everything, and hostile strings."""

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import corpus
from evals import figures, findings, outcomes, report
from evals.config import Report
from schemas import SCHEMAS

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
REPO = "pypi/sea@1.0"
TEXTS = {
    "sea/deep.py": "import sea.base\n\ndef depth():\n    return sea.base.zero\n",
    "sea/base.py": "zero = 0\n",
    f"sea/{HOSTILE}.py": "import sea.deep\n# \u202egnp.exe\n",
    **{f"sea/fish{n}.py": f"import sea.base\nfish = {n}\n" for n in range(6)},
}
FAR = [f"def line_{n}(): return {n}" for n in range(30)]


def made(
    path: Path, table: str, verb: str, inputs: list[corpus.Table], parts: Any, **counts: int
) -> corpus.Table:
    with corpus.building(path, table, made_by=verb, settings={"verb": verb}, inputs=inputs) as out:
        assert isinstance(out, corpus.Output)
        out.write("00000", parts, **counts)
        return out.seal()


def rows(table: str, found: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(found, schema=SCHEMAS[table])


def file(path: str, text: str) -> dict[str, Any]:
    size = len(text.encode())
    named = {"repo": REPO, "path": path, "revision": "sha256:0", "language": "python", "license": "MIT"}
    return named | {
        "encoding": "utf-8",
        "text": text,
        "sha256": "0",
        "bytes": size,
        "lines": text.count("\n"),
    }


def document(name: str, files: dict[str, str], language: str = "python") -> dict[str, Any]:
    text, spans = "", []
    for path, content in files.items():
        text += f"# {path}\n"
        spans.append({"path": path, "start": len(text), "end": len(text) + len(content)})
        text += content
    named = {"id": name, "repo": REPO, "revision": "sha256:0", "part": 0, "level": "repo", "license": "MIT"}
    return named | {"language": language, "text": text, "files": spans, "bytes": len(text.encode())}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directories of a whole run, by verb."""
    root = tmp_path_factory.mktemp("run")
    paths = {verb: root / verb.replace(" ", "-") for verb in report.ORDER}
    far = {"far/one.py": "\n".join(FAR), "far/two.py": "\n".join([*FAR[:20], HOSTILE, *FAR[20:]])}
    texts = TEXTS | far | {"long.py": "x" * 2000, "gpl.py": "y = 1\n"}
    fetched = made(
        paths["crawl fetch"],
        "files",
        "crawl fetch",
        [],
        {"": rows("files", [file(*one) for one in texts.items()]),
         "rejects": corpus.rejects([(f"{REPO}:{HOSTILE}.bin", "binary", None, 1, 7)], "crawl fetch")},
        came_in=len(texts) + 1,
    )  # fmt: skip
    kept_texts = {path: text for path, text in texts.items() if path not in ("long.py", "gpl.py")}
    dropped = [
        (f"{REPO}:long.py", "long_line", "2000", 1, 2000),
        (f"{REPO}:gpl.py", "license", "GPL-3.0", 1, 6),
    ]
    kept = made(
        paths["crawl filter"],
        "files",
        "crawl filter",
        [fetched],
        {"": rows("files", [file(*one) for one in kept_texts.items()]),
         "rejects": corpus.rejects(dropped, "crawl filter")},
        came_in=len(texts),
    )  # fmt: skip
    ordered = dict(sorted(TEXTS.items(), key=lambda one: (one[0] != "sea/base.py", one[0] != "sea/deep.py")))
    joined = [document(f"{REPO}#python/0", ordered)]
    joined += [document(f"{REPO}#python/{path}", {path: text}) for path, text in far.items()]
    edges = [{"repo": REPO, "importer": path, "imported": "sea/base.py"} for path in TEXTS if "fish" in path]
    edges += [
        {"repo": REPO, "importer": "sea/deep.py", "imported": "sea/base.py"},
        {"repo": REPO, "importer": "sea/base.py", "imported": "sea/deep.py"},
        {"repo": REPO, "importer": f"sea/{HOSTILE}.py", "imported": "sea/deep.py"},
    ]
    documents = made(
        paths["crawl order"],
        "documents",
        "crawl order",
        [kept],
        {
            "": rows("documents", joined),
            "edges": rows("edges", edges),
            "rejects": corpus.rejects([], "crawl order"),
        },
        came_in=len(kept_texts),
        went_out=len(kept_texts),
    )
    near = {"cluster": joined[1]["id"], "keeper": joined[1]["id"], "level": "near", "exact": True}
    clusters = [
        near | {"id": joined[1]["id"], "kept": True, "similarity": 1.0},
        near | {"id": joined[2]["id"], "kept": False, "similarity": 0.91},
    ]
    unique = made(
        paths["dedup scan"],
        "documents",
        "dedup scan",
        [documents],
        {"": rows("documents", joined[:2]), "clusters": rows("clusters", clusters),
         "rejects": corpus.rejects([(joined[2]["id"], "near", None, 1, joined[2]["bytes"])], "dedup scan")},
        came_in=3,
    )  # fmt: skip
    final = made(
        paths["crawl screen"],
        "corpus",
        "crawl screen",
        [unique],
        {"": rows("corpus", joined[:1]),
         "rejects": corpus.rejects([("far/one.py", "contaminated", "HumanEval/1", 1, 70)], "crawl screen")},
        came_in=10,
        went_out=9,
    )  # fmt: skip
    return paths | _model(paths, final) | _verdicts(paths)


def _model(paths: dict[str, Path], final: corpus.Table) -> dict[str, Path]:
    tokens = np.array([[1, 1, 2, 2, 0], [1, 2, 0, 0, 0]], np.uint16)
    span = {
        "split": "train",
        "document": f"{REPO}#python/0",
        "text_start": 0,
        "text_end": 9,
        "token": 0,
        "mode": "text",
    }
    spans = [span | {"sequence": 0, "start": 0, "end": 4}, span | {"sequence": 1, "start": 0, "end": 2}]
    with corpus.building(
        paths["train pack"], "tokens", made_by="train pack", settings={}, inputs=[final]
    ) as out:
        assert isinstance(out, corpus.Output)
        out.write("train-00000", {"": tokens, "spans": rows("spans", spans)}, came_in=1)
        packed = out.seal()
    lines = [{"step": n, "tokens": n * 100, "loss": 3 / n, "lr": 1e-3} for n in range(1, 60)]
    lines[-1]["valid_loss"] = 0.25
    metrics = "\n".join(json.dumps(line) for line in lines).encode()
    shape = json.dumps({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2}).encode()
    contents = {"metrics.jsonl": metrics, "config.json": shape}
    made(paths["train pretrain"], "model", "train pretrain", [packed], contents)
    return {}


def _verdicts(paths: dict[str, Path]) -> dict[str, Path]:
    named = [{"suite": "humaneval", "problem": f"HumanEval/{n}"} for n in (2, 10)]
    posed = {"language": "python", "prompt": f"def f():\n    {HOSTILE}", "header": "", "test": "", "text": ""}
    problems = made(
        paths["evals problems"], "problems", "evals problems", [],
        {"": rows("problems", [one | posed | {"stop": ["\ndef"]} for one in named])},
    )  # fmt: skip
    written = {"sample": 0, "completion": f"    return 1 # {HOSTILE}\ndef beyond(): pass", "finish": "length"}
    samples = made(
        paths["evals sample"], "samples", "evals sample", [problems],
        {"": rows("samples", [one | written for one in named])},
    )  # fmt: skip
    found = [("passed", None, "x = 1"), ("failed", f"AssertionError: {HOSTILE}", "y" * 9000)]
    judged = [
        one | {"sample": 0, "verdict": verdict, "detail": detail, "program": program}
        for one, (verdict, detail, program) in zip(named, found, strict=True)
    ]
    score = {"suite": "humaneval", "k": 1, "value": 0.5, "low": 0.1, "high": 0.9, "method": "wilson"}
    with corpus.building(
        paths["evals judge"], "verdicts", made_by="evals judge", settings={}, inputs=[problems, samples]
    ) as out:
        assert isinstance(out, corpus.Output)
        out.write("00000", {"": rows("verdicts", judged)}, came_in=2)
        out.seal(scores=[score | {"problems": 2, "samples": 2}])
    return {}


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
    return drawn([path for path in run.values() if path.exists()], tmp_path_factory.mktemp("page"))


def given(run: dict[str, Path], *verbs: str) -> dict[str, corpus.Table]:
    return {verb: corpus.read(run[verb]) for verb in verbs}


def test_hostile_paths_completions_and_reasons_make_no_element(whole: str) -> None:
    tags = {tag for tag, _ in Elements(whole).found}
    assert tags.isdisjoint({"script", "img", "iframe", "object", "base", "form"})
    assert not [
        name for _, attributes in Elements(whole).found for name in attributes if name.startswith("on")
    ]
    assert Elements(whole).text.count(HOSTILE) >= 6  # as text: a reject, a path, a diff, prompts, completions


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
    assert drawn([path for path in reversed(run.values()) if path.exists()], tmp_path) == whole


@pytest.mark.parametrize("verb", ["crawl fetch", "dedup scan", "train pretrain", "evals judge"])
def test_a_table_alone_makes_a_page_that_says_what_is_absent(
    run: dict[str, Path], tmp_path: Path, verb: str
) -> None:
    page = drawn([run[verb]], tmp_path)
    assert "so there is nothing to show here" in page
    assert f"No output of <code>{verb}</code>" not in page
    assert ("✓ holds" in page) == (verb == "crawl fetch")  # the others' inputs are not here to compare with


def test_every_section_of_a_whole_run_has_something_to_show(whole: str) -> None:
    assert "so there is nothing to show here" not in whole
    assert whole.count('role="img"') == 7  # files, bytes, similarity, order, loss, learning rate, scores


def test_files_in_are_files_out_and_rejects_at_every_step(run: dict[str, Path]) -> None:
    steps = findings.funnel(given(run, *findings.FUNNEL))
    assert [step.missing for step in steps] == [0, 0, 0, 0, 0]
    assert [step.files for step in steps] == [13, 11, 11, 10, 9]


def test_a_file_that_vanished_is_told(run: dict[str, Path], tmp_path: Path) -> None:
    kept = corpus.read(run["crawl filter"])
    fewer = kept.scan().collect().head(9)
    lost = made(tmp_path / "lost", "documents", "crawl order", [kept],
                {"": rows("documents", [document("d", dict(fewer.select("path", "text").iter_rows()))]),
                 "edges": rows("edges", [])})  # fmt: skip
    assert findings.funnel({"crawl filter": kept, "crawl order": lost})[-1].missing == 2
    assert "✗ 2 files unaccounted for" in drawn([kept.path, lost.path], tmp_path / "page")


def test_a_table_of_another_run_is_told(run: dict[str, Path], tmp_path: Path) -> None:
    other = made(tmp_path / "other", "files", "crawl filter", [], {"": rows("files", [file("a.py", "b")])})
    page = drawn([other.path, run["crawl order"]], tmp_path / "page")
    assert "not of one run: crawl order was made from another crawl filter" in page


def test_the_order_drawn_is_that_of_the_document_with_its_cycle(run: dict[str, Path]) -> None:
    order = findings.order(given(run, "crawl order"))
    assert order is not None and order.files[:2] == ["sea/base.py", "sea/deep.py"]
    assert order.places == {"earlier": 8, "later": 1}
    assert order.imports_of(1) == [0] and order.imports_of(0) == [1]


def test_the_pair_shown_is_the_keeper_beside_the_dropped_document(run: dict[str, Path]) -> None:
    found = findings.duplicates(given(run, "crawl order", "dedup scan"))
    assert found is not None and found.pair is not None
    changed = [(left.text, right.text) for kind, left, right in found.pair.lines if kind == "changed"]
    assert ("", HOSTILE) in changed
    assert sum(found.histogram) == 1 and found.histogram[8] == 1  # 0.90 to 0.95


def test_the_unigram_entropy_is_that_of_the_tokens_without_padding(run: dict[str, Path]) -> None:
    entropy = outcomes.unigram_entropy(corpus.read(run["train pack"]))
    assert entropy == pytest.approx(np.log(2))  # three ones, three twos; the four zeros are padding


def test_a_completion_is_split_at_its_first_stop_and_problems_count_like_people(run: dict[str, Path]) -> None:
    ((suite, samples),) = outcomes.samples(
        given(run, "evals judge", "evals sample", "evals problems"), most=9
    )
    assert suite == "humaneval" and [one.problem for one in samples] == ["HumanEval/2", "HumanEval/10"]
    assert samples[0].rest == "\ndef beyond(): pass"


def test_long_texts_lose_their_middle_with_a_note(whole: str) -> None:
    assert "7,001 characters from the middle are not shown" in whole
    assert "y" * 3000 not in whole


def test_the_answer_names_the_page_and_the_headline_figures(run: dict[str, Path], tmp_path: Path) -> None:
    paths = [path for path in run.values() if path.exists()]
    told = report.answer(report.write_report(paths, tmp_path, Report()))
    assert told.splitlines()[0] == str(tmp_path / "index.html")
    assert "files into the corpus: 14 → 9" in told
    assert "final loss, held out: 0.250 nats (unigram entropy 0.693)" in told
    assert "humaneval, pass@1: 50.0 % (95 % interval 10.0 % to 90.0 %)" in told
    assert told == report.answer(report.write_report(paths, tmp_path, Report()))  # up to date, same answer


def test_two_tables_of_one_verb_are_refused(run: dict[str, Path], tmp_path: Path) -> None:
    other = made(tmp_path / "other", "files", "crawl fetch", [], {"": rows("files", [])})
    with pytest.raises(corpus.Refusal, match="were both made by crawl fetch: give the report one"):
        report.write_report([run["crawl fetch"], other.path], tmp_path / "page", Report())


def test_the_paper_s_table_sums_to_what_the_paper_states() -> None:
    table = findings.PAPER["languages"].values()
    assert len(table) == 87
    assert sum(gb for _, gb, _, _ in table) == pytest.approx(797.92, abs=0.1)
    assert sum(thousands for _, _, thousands, _ in table) == pytest.approx(603_173, abs=87)
    assert sum(share for *_, share in table) == pytest.approx(100, abs=0.5)
