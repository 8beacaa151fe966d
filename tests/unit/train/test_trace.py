"""Any token leads back to the very characters of the file it was made from."""

from __future__ import annotations

import pytest

import corpus
from corpus import Refusal
from train import tokenizer, trace
from train.batches import Rows


@pytest.mark.parametrize("split", ["train", "valid"])
def test_every_tokens_bytes_stand_where_its_origin_says(
    documents: corpus.Table, words: corpus.Table, tokens: corpus.Table, split: str
) -> None:
    loaded = tokenizer.load(words.path)
    by_id = {row["id"]: row for row in documents.scan().collect().iter_rows(named=True)}
    rows, modes = Rows([tokens], split), set()
    for sequence in range(len(rows)):
        for token, origin in zip(
            rows.tokens(sequence), trace.origins(tokens, documents, split, sequence), strict=True
        ):
            modes.add(origin.mode)
            spelled = loaded.id_to_token(int(token))
            if origin.first is None:
                assert spelled in tokenizer.SPECIALS
                continue
            row = by_id[origin.document]
            base = {file["path"]: file["start"] for file in row["files"]}.get(origin.path, 0)
            here = row["text"][base + origin.first : base + origin.last]
            assert loaded.decode([int(token)]).strip("�") in here
    assert {"text", "psm"} <= modes


def test_the_runs_of_all_rows_are_all_characters_of_all_packed_files_once(
    documents: corpus.Table, tokens: corpus.Table
) -> None:
    sizes = {
        (row["repo"], row["part"], file["path"]): file["end"] - file["start"]
        for row in documents.scan().collect().iter_rows(named=True)
        for file in row["files"]
    }
    found: dict[tuple[str, int, str], set[int]] = {}
    for split in ("train", "valid"):
        for sequence in range(len(Rows([tokens], split))):
            for run in trace.runs(trace.origins(tokens, documents, split, sequence)):
                if run.path is not None:
                    key = (run.repo, int(run.document.rpartition("#")[2]), run.path)
                    found.setdefault(key, set()).update(range(run.first, run.last))
    assert found
    for key, characters in found.items():
        assert characters == set(range(sizes[key])), key


def test_a_run_reads_as_one_line(documents: corpus.Table, tokens: corpus.Table) -> None:
    runs = list(trace.runs(trace.origins(tokens, documents, "train", 0)))
    assert [run.start for run in runs[1:]] == [run.end for run in runs[:-1]]
    one = next(run for run in runs if run.path)
    wanted = [f"{one.start}-{one.end}", one.mode, f"{one.repo}@1", one.path, f"{one.first}-{one.last}"]
    assert trace.line(one).split("\t") == wanted


def test_rows_positions_and_corpora_that_are_not_there_are_refused(
    documents: corpus.Table, words: corpus.Table, tokens: corpus.Table
) -> None:
    found = trace.origins(tokens, documents, "train", 0)
    with pytest.raises(Refusal, match="position 128 is not in the row"):
        trace.at(found, 128)
    with pytest.raises(Refusal, match="there is no 9999"):
        trace.origins(tokens, documents, "train", 9999)
    with pytest.raises(Refusal, match="was not packed from"):
        trace.origins(tokens, tokens, "train", 0)
