"""Settings of the training verbs; all change the result, save those of ``Machine`` and ``Watch``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cyclopts import Parameter

Recompute = Literal["none", "selective", "full"]
Precision = Literal["bf16", "fp32", "fp8", "int8"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """Settings of ``train tokenizer``."""

    vocabulary: int = 32_000
    """BPE tokens, the 256 bytes included; DeepSeek's nine special tokens come on top (paper, 3.2)."""
    sample_bytes: int = 2 << 30
    """At most this many bytes of text are learned from; documents are taken in the order of a hash."""
    seed: int = 0
    """Another seed samples other documents."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Pack:
    """Settings of ``train pack``."""

    kind: Literal["all", "code", "prose"] = "all"
    """Which documents: code, the rest (Markdown, HTML, JSON, …), or both; a mixture weighs them apart."""
    length: int = 4096
    """Predicted tokens per sequence; a row holds one more, since labels are the row shifted by one."""
    fim_rate: float = 0.5
    """Share of code documents that become fill-in-the-middle (paper, 3.1.2)."""
    spm_rate: float = 0.0
    """Share of those in suffix-prefix-middle order; DeepSeek used prefix-suffix-middle alone."""
    fim_cuts: Literal["character", "line", "node"] = "character"
    """Where texts are cut: anywhere, as in the paper, at the beginnings of lines, or around a whole node of
    the syntax tree; those come from `--parsed`, a table that was made with `[crawl.parse] nodes`."""
    valid_share: float = 0.01
    """Share of repos held out for validation, by hash of their name (at least one where there are two)."""
    min_tokens: int = 16
    """Documents with fewer tokens are rejected as too_short."""
    max_tokens: int = 0
    """Tokens to pack at most, and a tenth as many to hold out; documents go by hash. 0: all of them."""
    window: int = 100_000
    """Pieces that are packed together by best fit, after a shuffle by hash."""
    fill: float = 0.999
    """Share of a row that tokens take at least, on average: where best fit leaves more empty, left-to-right
    pieces are cut to fill it. 0: what fits into a row is never cut."""
    seed: int = 0
    """Another seed draws other FIM cuts, another order and other held-out repos."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Chat:
    """Settings of ``train chat``."""

    dialogues: tuple[str, ...] = ()
    """Files (.jsonl, .jsonl.gz), folders saved by Hugging Face datasets, or names of datasets on the hub,
    with ``messages``, ``conversations``, or ``instruction`` and ``output``."""
    template: Literal["chat", "script"] = "chat"
    """DeepSeek's format: that of the published tokenizer, or that of the published fine-tuning script."""
    length: int = 16_384
    """Predicted tokens per row; of a dialogue that is longer, the first turns that fit."""
    valid_share: float = 0.01
    """Share of dialogues held out for validation, by hash (at least one where there are two)."""
    seed: int = 0
    """Another seed draws another order and other held-out dialogues."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Settings of ``train pretrain``."""

    model: str = "1.3b"
    """Shape of a new model: 1.3b, 5.7b-mqa, 6.7b, 33b (the paper's), llm-7b, llm-67b (DeepSeek LLM's), or
    small, tiny, nano.  With --start the shape is that of the model to start from."""
    tokens: int = 2_000_000_000_000
    """Tokens to train on; the corpus is repeated in another order where it is smaller."""
    mixture: tuple[float, ...] = ()
    """Weights of the tables of rows, in their order, such as 87, 10, 3; without, all rows count alike."""
    attend: Literal["document", "row"] = "document"
    """What a token sees: what is before it in its document, or in its whole row (as in DeepSeek-V3, 4.1)."""
    batch: int = 1024
    """Sequences per step."""
    micro_batch: int = 1
    """Sequences per forward pass; the gradients of a step are summed over all of them."""
    lr: float = 5.3e-4
    """Highest learning rate (paper, Table 2)."""
    schedule: Literal["steps", "cosine", "constant"] = "steps"
    """How the rate falls after the warm-up: in steps of sqrt(1/10), along a cosine, or not at all."""
    warmup_steps: int = 2000
    """Steps of linear warm-up (paper, 3.4)."""
    falls: tuple[float, ...] = (0.8, 0.9)
    """Shares of the tokens after which the rate falls by sqrt(1/10) (DeepSeek LLM, 2.3)."""
    lr_end: float = 0.1
    """Share of the highest rate at which the cosine ends."""
    init_std: float = 0.006
    """Standard deviation of the initial weights (DeepSeek LLM, 2.3)."""
    rope_theta: float | None = None
    """Base of the rotary embedding: 10,000, or as in the model to start from; 100,000 in the paper's
    long-context phase (3.6)."""
    rope_factor: float | None = None
    """Linear scaling of positions: none, or as in the model to start from; 4 in the paper's long-context
    phase (3.6)."""
    precision: Precision = "bf16"
    """Arithmetic of the layers' products, all else being bf16, or fp32; weights and gradients are fp32."""
    states: Literal["fp32", "8bit"] = "fp32"
    """How the optimizer keeps its moments: 8 bytes a parameter, or a little more than 2 (torchao)."""
    valid_sequences: int = 64
    """Held-out sequences that the validation loss is taken over."""
    valid_every: int = 500
    """Steps between two validations; there is always one at the end."""
    checkpoint_every: int = 500
    """Steps between two checkpoints, from which a killed run goes on to the bit."""
    keep_optimizer: bool = False
    """Whether the table keeps the optimizer's states (8 bytes a parameter), so that a phase that starts
    from this model goes on with them."""
    lora_rank: int = 0
    """Rank of low-rank adapters, which alone are trained, and merged in the end; 0: all weights are."""
    lora_alpha: int = 32
    """Weight of the adapters, as a multiple of one over their rank."""
    seed: int = 0
    """Another seed draws other initial weights and another order of sequences."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Instruct(Pretrain):
    """Settings of ``train instruct``: those of ``train pretrain``, with what the paper states in 3.7."""

    tokens: int = 2_000_000_000
    """Tokens to train on, padding and questions included (paper, 3.7)."""
    batch: int = 256
    """Sequences per step: 4 million tokens at 16,384 (paper, 3.7)."""
    lr: float = 1e-5
    """Highest learning rate (paper, 3.7)."""
    schedule: Literal["steps", "cosine", "constant"] = "cosine"
    """How the rate falls after the warm-up (paper, 3.7: a cosine)."""
    warmup_steps: int = 100
    """Steps of linear warm-up (paper, 3.7)."""
    lr_end: float = 0.0
    """Share of the highest rate at which the cosine ends; the paper does not say."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Machine:
    """How ``train pretrain`` uses its machine: results stay the same, up to rounding."""

    recompute: Recompute = "none"
    """What the backward pass computes again to save memory: nothing, all but products and attention, all."""
    compile: bool = False
    """Compile each layer with torch.compile: the first step takes a minute, the others less time on a GPU."""
    replicas: int = 1
    """Groups of processes that each hold the whole model, so that shards stay inside a node (HSDP)."""
    nondeterministic: bool = False
    """On a GPU, let attention's backward pass add up in whatever order it ends: faster where documents are
    long, and neither a run nor one that goes on after a kill has the same bits twice."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Ablate:
    """Settings of ``train ablate``: four axes, each with the values to compare, the usual one first."""

    order: tuple[Literal["topological", "random", "path", "mixed"], ...] = ("topological", "random")
    """Orders of the files in a document: strategies of `crawl order`."""
    dedup: tuple[Literal["both", "repo", "row", "none"], ...] = ("both",)
    """Levels of `dedup scan`; none leaves it out."""
    fim_rate: tuple[float, ...] = (0.5, 0.0)
    """Shares of code documents that become fill-in-the-middle."""
    attend: tuple[Literal["document", "row"], ...] = ("document",)
    """What a token sees: its document, or its whole row."""
    product: bool = False
    """Compare all combinations; without, each axis varies by itself, from the first values of the others."""
    seeds: int = 4
    """Models of every recipe: initial weights and orders of the rows 0, 1, …"""
    probe_rows: int = 128
    """Held-out rows that every model is asked about."""
    probe_files: int = 64
    """Held-out files, each behind one that it imports, that every model is asked about."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Watch:
    """How a run of ``train pretrain`` is watched and kept: nothing of it changes the result."""

    watch: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Where the numbers of each step go besides the journal; events lie in ``logs`` in the model's folder."""
    keep: int = 2
    """Newest checkpoints that stay while the run goes on; two, in case one is damaged."""
    keep_every: int = 0
    """Checkpoints of every so many steps stay for good, in ``checkpoints`` in the model's folder; 0: none."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Plan:
    """What ``train plan`` plans for."""

    model: str = "6.7b"
    """Shape of the model, as in ``train pretrain``."""
    tokens: int = 2_000_000_000_000
    """Tokens to train on."""
    length: int = 16_384
    """Tokens per row."""
    micro_batch: int = 1
    """Rows per forward pass on each GPU."""
    document: int = 0
    """Tokens of the document that an average token stands in; 0: the row is one document."""
    gpu: str = "H100"
    """A100, A800, H100, H100 PCIe, H800, H200, B200, L40S or 4090; an H100 is the one with SXM."""
    gpus: int = 8
    """How many, all in one run."""
    memory: float = 0
    """GiB of each, where that is not what its type usually has (A100 with 40 GB: 39.4)."""
    replicas: int = 1
    """Groups of GPUs that each hold the whole model, as in ``train pretrain``."""
    precision: Precision = "bf16"
    """Arithmetic, as in ``train pretrain``."""
    states: Literal["fp32", "8bit"] = "fp32"
    """Optimizer states, as in ``train pretrain``."""
    compile: bool = False
    """Layers compiled, as in ``train pretrain``."""
    nondeterministic: bool = False
    """Attention adds up in any order, as in ``train pretrain``."""
    price: float = 2.0
    """Dollars for an hour of a GPU; DeepSeek-V3's report reckons with 2."""
