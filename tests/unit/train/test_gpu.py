"""What only a GPU can show: its kernels, its bits, its 8-bit products.  ``make check-gpu`` runs these."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import corpus
from corpus import Refusal
from tests.waiting import until
from train import attention, cli, loop, loss, shard
from train.batches import Rows
from train.config import Machine, Pretrain
from train.run import Sources, start
from train.shard import Group

from .conftest import TRAIN

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA, by `make check-gpu`"),
]

PROGRAM = """
import pathlib, sys
from train import cli
from train.config import Pretrain
cli.pretrain(*map(pathlib.Path, sys.argv[1:]), settings={settings!r})
"""

BF16 = replace(TRAIN, precision="bf16")


@pytest.fixture
def alone() -> Iterator[Group]:
    with shard.joined() as group:
        assert group.device.type == "cuda"
        yield group


def off(found: Tensor, wanted: Tensor) -> float:
    """Norm of the error over that of what is wanted; bf16 operands come to some thousandths."""
    found, wanted = found.detach().double(), wanted.detach().double()
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(
    ("heads", "kv_heads", "width", "values"),
    [(16, 16, 128, 128), (8, 2, 64, 64), (4, 1, 32, 32), (4, 4, 48, 32)],
)
def test_flash_attention_is_that_of_each_document_by_itself(
    heads: int, kv_heads: int, width: int, values: int
) -> None:
    ends, device = [1, 300, 301, 1500, 2048], torch.device("cuda")
    shapes = (heads, width), (kv_heads, width), (kv_heads, values)
    exact = [
        torch.randn(1, count, ends[-1], wide, device=device).bfloat16().float() for count, wide in shapes
    ]
    given = [tensor.bfloat16().requires_grad_() for tensor in exact]
    exact = [tensor.requires_grad_() for tensor in exact]
    pieces, out_of = attention.Pieces(ends, device), torch.randn(1, ends[-1], heads, values, device=device)
    fast, slow = (attention.within_documents(nn.Module(), *some, pieces=pieces)[0] for some in (given, exact))
    assert off(fast, slow) < 0.01
    fast.backward(out_of.bfloat16())
    slow.backward(out_of)
    for mine, true in zip(given, exact, strict=True):
        assert mine.grad is not None and true.grad is not None
        assert off(mine.grad, true.grad) < 0.01


def test_another_document_in_the_row_does_not_move_a_bit(sources: Sources, alone: Group) -> None:
    run = start(sources, BF16, alone)
    ids = torch.randint(0, 600, (900,), device=alone.device)
    other = torch.cat([torch.randint(0, 600, (400,), device=alone.device), ids[400:]])
    places = torch.cat([torch.arange(400), torch.arange(500)]).to(alone.device)
    one, two = (run.trainee(row, ids.roll(-1), places, [400, 900], each=True) for row in (ids, other))
    assert torch.equal(one[400:], two[400:]) and not torch.equal(one[:399], two[:399])


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_chunked_loss_is_that_of_float64(precision: torch.dtype) -> None:
    hidden = (torch.randn(3000, 256, device="cuda") * 0.5).to(precision)
    head, labels = (
        torch.randn(32_256, 256, device="cuda") * 0.1,
        torch.randint(0, 32_256, (3000,), device="cuda"),
    )
    labels[::7] = loss.IGNORED
    given = [hidden.requires_grad_(), head.requires_grad_()]
    exact = [tensor.detach().double().requires_grad_() for tensor in (hidden, head.to(precision))]
    mine = loss.summed(*given, labels)
    true = nn.functional.cross_entropy(
        exact[0] @ exact[1].T, labels, ignore_index=loss.IGNORED, reduction="sum"
    )
    mine.backward()
    true.backward()
    near = 1e-5 if precision is torch.float32 else 0.01
    assert mine.item() == pytest.approx(true.item(), rel=near / 10)
    for found, wanted in zip(given, exact, strict=True):
        assert found.grad is not None and wanted.grad is not None
        assert off(found.grad, wanted.grad) < near


@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-4), ("bf16", 0.01)])
def test_a_run_has_the_losses_of_one_on_a_processor(
    tokens: corpus.Table, words: corpus.Table, rows: Rows, alone: Group, precision: str, near: float
) -> None:
    sources, places = Sources([tokens], words), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]] * 4
    settings = replace(TRAIN, precision=precision)
    here, there = start(sources, settings, alone), start(sources, TRAIN, Group(torch.device("cpu")))
    losses = [[loop.advance(run, rows, some).facts["loss"] for some in places] for run in (here, there)]
    assert losses[0] == pytest.approx(losses[1], rel=near)
    assert losses[0][-1] < losses[0][0] - 0.2


def gradients(sources: Sources, rows: Rows, group: Group, layout: Machine) -> list[Tensor]:
    run = start(sources, BF16, group, layout)
    batch = rows.batch([0, 1], run.device)
    run.trainee(batch.ids_T, batch.labels_T, batch.positions_T, batch.ends).backward()
    return [p.grad.to_local() for p in run.trainee.parameters()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_gradients_are_the_same_bits_each_time_and_however_much_is_recomputed(
    sources: Sources, rows: Rows, alone: Group, recompute: str
) -> None:
    wanted = gradients(sources, rows, alone, Machine())
    found = gradients(sources, rows, alone, Machine(recompute=recompute))  # type: ignore[arg-type]
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))


def test_compiled_layers_give_the_gradients_of_eager_ones(sources: Sources, rows: Rows, alone: Group) -> None:
    eager = gradients(sources, rows, alone, Machine())
    for found, wanted in zip(gradients(sources, rows, alone, Machine(compile=True)), eager, strict=True):
        assert off(found, wanted) < 0.02


def test_attention_over_a_long_document_has_the_same_bits_each_time(alone: Group, sources: Sources) -> None:
    start(sources, BF16, alone)  # a run asks for it
    ends = [16_384]
    pieces = attention.Pieces(ends, alone.device)
    given = [torch.randn(1, 16, ends[-1], 128, device="cuda", dtype=torch.bfloat16) for _ in range(4)]
    found = []
    for _ in range(5):
        three = [tensor.clone().requires_grad_() for tensor in given[:3]]
        out, _ = attention.within_documents(nn.Module(), *three, pieces=pieces)
        found.append(torch.autograd.grad(out, three, given[3].transpose(1, 2)))
    assert all(
        torch.equal(a, b) for one, two in itertools.pairwise(found) for a, b in zip(one, two, strict=True)
    )


@pytest.mark.timeout(300)  # torchao compiles a step for every shape of a weight
@pytest.mark.parametrize("given", [{"precision": "fp8"}, {"precision": "int8"}, {"states": "8bit"}])
def test_a_run_in_eight_bits_ends_near_one_in_bf16(
    tokens: corpus.Table, words: corpus.Table, tmp_path: Path, given: dict[str, str]
) -> None:
    pytest.importorskip("torchao")
    plain = replace(BF16, tokens=12 * 16 * 127, batch=16, micro_batch=16)
    settings = replace(plain, **given)  # type: ignore[arg-type]
    whole = cli.pretrain(tokens.path, words.path, tmp_path / "bf16", settings=plain)
    eight = cli.pretrain(tokens.path, words.path, tmp_path / "8bit", settings=settings)
    assert eight.digest != whole.digest
    assert eight.manifest["loss"] == pytest.approx(whole.manifest["loss"], rel=0.02)


def test_passes_that_eight_bits_cannot_multiply_are_refused(sources: Sources, alone: Group) -> None:
    pytest.importorskip("torchao")
    with pytest.raises(Refusal, match="fp8 multiplies 16 numbers at a time, and 254 tokens"):
        start(sources, replace(BF16, precision="fp8"), alone)


def life(settings: Pretrain, *paths: Path) -> subprocess.Popen[bytes]:
    """A process that trains; a fork of this one could not use CUDA."""
    return subprocess.Popen([sys.executable, "-c", PROGRAM.format(settings=settings), *map(str, paths)])


def test_a_run_that_is_killed_ends_with_the_bits_of_an_undisturbed_one(
    tokens: corpus.Table, words: corpus.Table, tmp_path: Path
) -> None:
    settings = replace(BF16, tokens=40 * 2 * 127, batch=2, checkpoint_every=1, valid_every=20)
    sources, places = (tokens.path, words.path), (tmp_path / "whole", tmp_path / "killed")
    assert life(settings, *sources, places[0]).wait(200) == 0
    for step, how in ((3, signal.SIGKILL), (11, signal.SIGTERM), (20, signal.SIGKILL)):
        process = life(settings, *sources, places[1])
        until(process, places[1], f"running/step-{step:08d}")
        process.send_signal(how)
        assert process.wait(200) != 0
    assert life(settings, *sources, places[1]).wait(200) == 0
    whole, killed = (corpus.read(place, "model") for place in places)
    assert killed.digest == whole.digest
