"""What the walls of the house keep apart, as a running interpreter sees it."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "datasets", "datatrove", "ray", "tree_sitter", "pandas"}
STAGES = {"crawl", "dedup", "train", "evals"}


def loaded(*modules: str) -> set[str]:
    """Top-level names in ``sys.modules`` of a fresh interpreter that imported ``modules``."""
    script = f"import sys, {', '.join(modules)}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_what_stages_share_knows_no_stage_and_nothing_heavy() -> None:
    assert not loaded("corpus", "passes", "runfile", "schemas", "executors.config") & (STAGES | HEAVY)


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_answers_help_without_loading_anything_heavy_or_another_stage(stage: str) -> None:
    assert not loaded(f"{stage}.cli") & (HEAVY | (STAGES - {stage}))


def test_the_help_of_dedup_waits_for_no_table_library() -> None:
    assert not loaded("dedup.cli") & {"numpy", "polars", "pyarrow"}


def test_the_whole_of_dedup_stays_light() -> None:
    assert not loaded("dedup.cli", "dedup.algorithm") & (HEAVY | (STAGES - {"dedup"}))
