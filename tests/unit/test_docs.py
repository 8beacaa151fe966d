"""What the documents say is what the code does."""

import re
from pathlib import Path

import pytest

import corpus

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = (ROOT / "docs/contract.md").read_text()


@pytest.mark.parametrize("table", sorted(corpus.SCHEMAS))
def test_the_contract_names_every_column_of_every_table_in_order(table: str) -> None:
    section = CONTRACT.split(f"### {table}\n")[1].split("\n### ")[0].split("\n## ")[0]
    listing = section.split("\n", 1)[1] if not section.startswith("`") else section
    columns = corpus.SCHEMAS[table]
    for name in columns.names:
        mark = r"\?" if columns.field(name).nullable else r"(?!\?)"
        assert re.search(rf"`{name}`{mark}", listing), f"{table}.{name} is missing or its `?` is wrong"
    found = [word for word in re.findall(r"`(\w+)`", listing) if word in columns.names]
    assert list(dict.fromkeys(found))[: len(columns.names)] == columns.names


def test_every_file_of_the_tree_is_in_the_readme_and_every_name_there_exists() -> None:
    tree = (ROOT / "README.md").read_text().split("## The tree")[1].split("```")[1]
    folder, listed = "", set()
    for line in filter(str.strip, tree.splitlines()):
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
            listed.add(name)
        else:
            listed.add(folder + name)
    code = [p for s in ("crawl", "dedup", "train", "evals", "executors") for p in (ROOT / s).rglob("*.py")]
    code += list(ROOT.glob("*.py"))
    present = {p.relative_to(ROOT).as_posix() for p in code if p.name != "__init__.py"}
    assert present <= listed, f"not in the README's tree: {sorted(present - listed)}"
    missing = {name for name in listed if not (ROOT / name).exists()}
    assert not missing, f"in the README's tree but not there: {sorted(missing)}"
