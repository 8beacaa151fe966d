"""Dialogues are DeepSeek's prompts to the token, and loss is taken on answers alone."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

import corpus
from corpus import Refusal
from train import chat, checkpoint, cli, dialogues, loop, parent, template, tokenizer
from train.batches import Rows
from train.config import Chat, Instruct
from train.dialogues import Turn
from train.run import Sources, start

from .conftest import ALONE, TRAIN

TURNS = [
    Turn("user", " add 1\n"),
    Turn("assistant", "x += 1"),
    Turn("user", "why?"),
    Turn("assistant", "é <|EOT|>"),
]
MESSAGES = [{"role": turn.role, "content": turn.text} for turn in TURNS]


def spelled(turns: list[Turn], form: template.Template) -> str:
    return "".join(part.text for part in template.parts(turns, form))


def test_the_published_chat_template_is_followed_to_the_letter() -> None:
    text = spelled(TURNS, "chat")
    assert text.startswith(
        f"{tokenizer.BOS}You are an AI programming assistant, utilizing the Deepseek Coder model"
    )
    assert "you will refuse to answer\n### Instruction:\n add 1\n\n### Response:\nx += 1\n<|EOT|>\n" in text
    assert text.endswith("### Instruction:\nwhy?\n### Response:\né <|EOT|>\n<|EOT|>\n")
    assert spelled([Turn("system", "S"), *TURNS[:2]], "chat").startswith(
        f"{tokenizer.BOS}S### Instruction:\n"
    )


def test_the_published_script_strips_questions_ends_its_sentence_and_ends_with_eot() -> None:
    text = spelled(TURNS[:2], "script")
    assert "utilizing the DeepSeek Coder model, developed by DeepSeek Company" in text
    assert text.endswith("refuse to answer.\n### Instruction:\nadd 1\n### Response:\nx += 1\n<|EOT|>")


@pytest.mark.parametrize("form", ["chat", "script"])
@pytest.mark.parametrize("system", [[], [Turn("system", "Be brief.")]])
def test_what_is_learned_is_what_apply_chat_template_prompts_with(
    words: corpus.Table, form: template.Template, system: list[Turn]
) -> None:
    turns = [*system, *TURNS[:3], Turn("assistant", "because")]
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    ids, answers = template.encode(template.parts(turns, form), tokenizer.load(words.path))
    auto = AutoTokenizer.from_pretrained(words.path)
    theirs = auto.apply_chat_template(messages, chat_template=template.jinja(form), return_dict=False)
    assert ids.tolist() == theirs
    prompt = auto.apply_chat_template(
        messages[:-1], chat_template=template.jinja(form), add_generation_prompt=True, return_dict=False
    )
    assert ids[: len(prompt)].tolist() == prompt and answers[len(prompt)] and not answers[len(prompt) - 1]


def test_answers_their_line_end_and_eot_are_predicted_and_nothing_else(words: corpus.Table) -> None:
    loaded = tokenizer.load(words.path)
    ids, answers = template.encode(template.parts(TURNS, "chat"), loaded)
    learned = loaded.decode(ids[answers].tolist(), skip_special_tokens=False)
    assert learned == "x += 1\n<|EOT|>é <|EOT|>\n<|EOT|>"
    # The second of the three is text that a person wrote: no special token.
    assert ids[answers].tolist().count(tokenizer.special(loaded, template.EOT)) == 2


SAID = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(
    [template.EOT, " ", "\r", "### Response:\n", *tokenizer.SPECIALS]
)


@given(st.lists(st.tuples(SAID, SAID), min_size=1, max_size=3), st.sampled_from(["chat", "script"]))
def test_any_texts_come_back_and_answers_are_learned_whole(
    words: corpus.Table, said: list[tuple[str, str]], form: template.Template
) -> None:
    turns = [turn for q, a in said for turn in (Turn("user", q), Turn("assistant", a))]
    loaded = tokenizer.load(words.path)
    ids, answers = template.encode(template.parts(turns, form), loaded)
    assert loaded.decode(ids.tolist(), skip_special_tokens=False) == spelled(turns, form)
    learned = loaded.decode(ids[answers].tolist(), skip_special_tokens=False)
    assert learned == "".join(f"{answer}\n{template.EOT}" for _, answer in said)


ODD = [
    ({"messages": [MESSAGES[0]]}, "no_answer"),
    ({"messages": [MESSAGES[1]]}, "turns_do_not_alternate"),
    ({"messages": [MESSAGES[0], MESSAGES[0], MESSAGES[1]]}, "turns_do_not_alternate"),
    ({"messages": [MESSAGES[0], {"role": "assistant", "content": " "}]}, "empty_turn"),
    ({"messages": [MESSAGES[0], {"role": "assistant", "content": None}]}, "malformed"),
    ({"messages": ["hello"]}, "malformed"),
    ({"text": "hello"}, "malformed"),
    ({"instruction": "a", "output": 3}, "malformed"),
]


def write(path: Path, rows: list[object]) -> str:
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return str(path)


def test_the_three_published_forms_are_one_and_odd_rows_are_named(tmp_path: Path) -> None:
    shared = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}, {"from": "human", "value": "?"}]
    good = [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"conversations": shared},
        {"instruction": "q", "output": "a", "input": ""},
    ]
    file = write(tmp_path / "d.jsonl.gz", [*good, *(row for row, _ in ODD)])
    found = list(dialogues.read(file, dialogues.pin(file)))
    assert [one.turns for one in found[:3]] == [[Turn("user", "q"), Turn("assistant", "a")]] * 3
    assert [one.reason for one in found[3:]] == [reason for _, reason in ODD]


def test_lines_that_are_no_json_or_far_too_long_are_malformed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogues, "LONGEST", 100)
    good = json.dumps({"instruction": "q", "output": "a"})
    (tmp_path / "d.jsonl").write_text(f"{{\n{'[' * 99999}\n\n{good}\n{'x' * 100}")
    found = list(dialogues.read(str(tmp_path / "d.jsonl"), ""))
    assert [one.reason for one in found] == ["malformed", "malformed", None, "malformed"]


def test_lone_surrogates_are_replaced_and_damaged_archives_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", [{"instruction": "q \ud800", "output": "a"}])
    [one] = dialogues.read(file, "")
    assert one.turns == [Turn("user", "q \ufffd"), Turn("assistant", "a")]
    whole = Path(write(tmp_path / "d.jsonl.gz", [{"instruction": "q", "output": "a"}])).read_bytes()
    for damaged in (whole[:-9], b"no archive", whole[:12] + bytes(20)):
        (tmp_path / "d.jsonl.gz").write_bytes(damaged)
        with pytest.raises(Refusal, match=r"d.jsonl.gz is damaged"):
            list(dialogues.read(str(tmp_path / "d.jsonl.gz"), ""))


def test_of_a_long_dialogue_the_most_turns_that_fit_are_found_in_few_tries(
    words: corpus.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, encode, tries = tokenizer.load(words.path), template.encode, []
    monkeypatch.setattr(template, "encode", lambda *given: (tries.append(1), encode(*given))[1])
    long = dialogues.Dialogue("k", TURNS[:2] * 500, None)
    found = chat._fitting(long, loaded, Chat(length=1023))
    assert not isinstance(found, str) and len(tries) < 14
    sizes = [len(encode(template.parts(TURNS[:2] * pairs, "chat"), loaded)[0]) for pairs in range(1, 80)]
    assert len(found[0]) == max(size for size in sizes if size <= 1024) < sizes[-1]


def test_folders_of_hugging_face_datasets_are_read(tmp_path: Path) -> None:
    datasets.Dataset.from_list([{"messages": MESSAGES}]).save_to_disk(tmp_path / "saved")
    [one] = dialogues.read(str(tmp_path / "saved"), dialogues.pin(str(tmp_path / "saved")))
    assert one.turns == TURNS
    with pytest.raises(Refusal, match="give dialogues that exist"):
        dialogues.pin(str(tmp_path / "no" / "such" / "file.jsonl"))


def test_a_dataset_of_the_hub_is_read_at_its_commit_and_runs_no_code(hub_server: Any) -> None:
    rows = b"".join(json.dumps({"messages": MESSAGES[:2]}).encode() + b"\n" for _ in range(3))
    hub_server.files = {"train.jsonl": rows, "tiny.py": b"raise SystemExit"}
    pinned = dialogues.pin("me/tiny")
    assert pinned == f"me/tiny@{hub_server.commit}"
    assert [one.turns for one in dialogues.read("me/tiny", pinned)] == [TURNS[:2]] * 3
    assert not [path for path in hub_server.asked if path.endswith(".py")]


@pytest.fixture(scope="module")
def rows(words: corpus.Table, tmp_path_factory: pytest.TempPathFactory) -> corpus.Table:
    folder = tmp_path_factory.mktemp("chat")
    many = [{"instruction": f"print {n}", "output": f"print({n})"} for n in range(40)]
    many += [{"messages": MESSAGES}, {"instruction": "x" * 5000, "output": "y"}, {"text": "?"}]
    settings = Chat(dialogues=(write(folder / "d.jsonl", many),), length=511, valid_share=0.1)
    return cli.chat(words.path, folder / "rows", settings=settings)


def test_dialogues_in_are_dialogues_packed_and_rejects(rows: corpus.Table) -> None:
    assert rows.counts == {"in": 43, "out": 41, "rejected": {"malformed": 1, "too_long": 1}}
    assert rows.manifest["template"] == "chat" and rows.manifest["valid"]["documents"] > 0


def test_the_labels_of_packed_rows_are_the_answers_tokens_each_by_itself(
    rows: corpus.Table, words: corpus.Table
) -> None:
    train, loaded, learned = Rows([rows], "train"), tokenizer.load(words.path), ""
    for row in range(len(train)):
        batch = train.batch([row], torch.device("cpu"))
        labels = batch.labels_T[batch.labels_T >= 0]
        assert batch.labelled == len(labels) and batch.ends[:-1] == [e for e in train.ends(row) if e < 511]
        learned += loaded.decode(labels.tolist(), skip_special_tokens=False)
    packed = rows.scan("spans").filter(split="train").collect()["document"]
    numbers = [int(key.rpartition(":")[2]) for key in packed]
    wanted = [f"print({n})\n<|EOT|>" if n < 40 else "x += 1\n<|EOT|>é <|EOT|>\n<|EOT|>" for n in numbers]
    assert sorted(learned.split("<|EOT|>")) == sorted("".join(wanted).split("<|EOT|>"))


SETTINGS = Instruct(**{**TRAIN.__dict__, "tokens": 8 * 2 * 511, "batch": 2, "schedule": "cosine", "lr": 1e-2})


@pytest.mark.parametrize("rank", [0, 4])
def test_an_instructed_model_learns_answers_and_speaks_by_its_template(
    rows: corpus.Table, words: corpus.Table, trained: corpus.Table, tmp_path: Path, rank: int
) -> None:
    settings = replace(SETTINGS, lora_rank=rank)
    table = cli.instruct(
        rows.path, words.path, tmp_path / "model", start=str(trained.path), settings=settings
    )
    losses = [json.loads(line)["loss"] for line in (table.path / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] - (0.03 if rank else 0.3)
    auto, loaded = AutoTokenizer.from_pretrained(table.path), AutoModelForCausalLM.from_pretrained(table.path)
    assert auto.eos_token == template.EOT == auto.decode([loaded.generation_config.eos_token_id])
    prompt = auto.apply_chat_template(MESSAGES[:1], add_generation_prompt=True, tokenize=False)
    assert prompt.endswith("### Instruction:\n add 1\n\n### Response:\n")
    before = AutoModelForCausalLM.from_pretrained(trained.path)
    assert loaded.state_dict().keys() == before.state_dict().keys()
    frozen = torch.equal(loaded.model.embed_tokens.weight, before.model.embed_tokens.weight)
    assert frozen == bool(rank)
    changed = loaded.model.layers[0].self_attn.q_proj.weight - before.model.layers[0].self_attn.q_proj.weight
    assert torch.linalg.matrix_rank(changed, rtol=1e-4) == (rank or 64)


def test_adapters_change_nothing_at_first_and_alone_have_gradients(
    rows: corpus.Table, words: corpus.Table, trained: corpus.Table
) -> None:
    sources = Sources([rows], words, parent.found(str(trained.path)))
    plain, adapted = (start(sources, replace(SETTINGS, lora_rank=rank), ALONE) for rank in (0, 4))
    batch = Rows([rows], "train").batch([0], torch.device("cpu"))
    losses = []
    for run in (plain, adapted):
        assert sources.origin is not None
        parent.give(sources.origin, run.trainee, run.optimizer, alone=True)
        losses.append(run.trainee(batch.ids_T, batch.labels_T, batch.positions_T, batch.ends))
    assert torch.equal(*losses)
    losses[1].backward()
    graded = {name for name, p in adapted.trainee.named_parameters() if p.grad is not None}
    assert len(graded) == 2 * 7 * 2 and all(".lora_" in name for name in graded)


def test_a_killed_run_of_adapters_goes_on_from_its_checkpoint(
    rows: corpus.Table, words: corpus.Table, trained: corpus.Table, tmp_path: Path
) -> None:
    sources = Sources([rows], words, parent.found(str(trained.path)))
    one, two = (start(sources, replace(SETTINGS, lora_rank=4, seed=seed), ALONE) for seed in (0, 1))
    loop.advance(one, Rows([rows], "train"), [0, 1])
    saver = checkpoint.Saver(tmp_path, ALONE)
    saver.save(one.step, one.state())
    saver.wait()
    saved = checkpoint.newest(tmp_path)
    assert saved is not None
    two.take(*saved)
    for run in (one, two):
        loop.advance(run, Rows([rows], "train"), [2, 3])
    weights = [dict(run.trainee.named_parameters()) for run in (one, two)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_an_instruction_without_a_model_or_rows_of_two_templates_is_refused(
    rows: corpus.Table, words: corpus.Table, tokens: corpus.Table, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match="--start MODEL"):
        cli.instruct(rows.path, words.path, tmp_path / "model")
    with pytest.raises(Refusal, match=r"have templates \['None', 'chat'\]"):
        Sources([rows, tokens], words).template()
    with pytest.raises(Refusal, match="give dialogues"):
        cli.chat(words.path, tmp_path / "rows")
