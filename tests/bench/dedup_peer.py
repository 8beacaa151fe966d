"""One near-dedup tool over a folder of parquet: ``python dedup_peer.py TOOL IN OUT THRESHOLD``.

Run in the tool's own environment by ``dedup_bench.py``, one process per tool.  Every tool reads the same
files, uses 5-word shingles and its own defaults or documented recipe for the threshold, one process, and
writes the kept rows as parquet; ``limit`` writes nothing.  Words are those of ``dedup``: letters, digits,
underscore, in lower case.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

WORD = re.compile(r"\w+")


def tables(src: Path) -> list[pa.Table]:
    return [pq.read_table(file) for file in sorted(src.glob("*.parquet"))]


def shingles(text: str) -> set[str]:
    words = WORD.findall(text.lower())
    return {" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))} if words else set()


def write(read: list[pa.Table], keep: list[bool], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    start = 0
    for number, table in enumerate(read):
        mask = pa.array(keep[start : start + len(table)])
        pq.write_table(table.filter(mask), out / f"{number:05d}.parquet", compression="zstd")
        start += len(table)


def components(count: int, pairs: list[tuple[int, int]]) -> list[bool]:
    """Keep the first row of every component, as the tools' own recipes do."""
    parent = list(range(count))

    def root(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for a, b in pairs:
        a, b = sorted((root(a), root(b)))
        parent[b] = a
    return [root(x) == x for x in range(count)]


def limit(src: Path, out: Path, threshold: float) -> None:
    """No tool: reads the texts and hashes each once, which nobody who compares them can do without."""
    import xxhash

    for file in sorted(src.glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(1 << 20, columns=["text"], use_threads=False):
            texts = batch.column(0).cast(pa.large_string())
            _, offsets, data = texts.buffers()
            places, view = memoryview(offsets).cast("q"), memoryview(data)
            for i in range(texts.offset, texts.offset + len(texts)):
                xxhash.xxh3_64_intdigest(view[places[i] : places[i + 1]])


def datasketch(src: Path, out: Path, threshold: float) -> None:
    import xxhash
    from datasketch import MinHash, MinHashLSH

    read = tables(src)
    texts = [text for table in read for text in table["text"].to_pylist()]
    index = MinHashLSH(threshold=threshold, num_perm=256)
    blank = MinHash(num_perm=256, hashfunc=xxhash.xxh32_intdigest)
    pairs = []
    for row, text in enumerate(texts):
        sketch = blank.copy()
        if found := shingles(text):
            sketch.update_batch([shingle.encode() for shingle in found])
        pairs += [(other, row) for other in index.query(sketch)]
        index.insert(row, sketch)
    write(read, components(len(texts), pairs), out)


def rensa(src: Path, out: Path, threshold: float) -> None:
    from rensa import RMinHash, RMinHashLSH

    read = tables(src)
    texts = [text for table in read for text in table["text"].to_pylist()]
    sketches = []
    for start in range(0, len(texts), 500):
        sets = [sorted(shingles(text)) for text in texts[start : start + 500]]
        sketches += RMinHash.from_token_sets(sets, num_perm=256, seed=42)
    index = RMinHashLSH(threshold=threshold, num_perm=256, num_bands=32 if threshold < 0.8 else 16)
    index.insert_many(sketches)
    gone: set[int] = set()
    for row, sketch in enumerate(sketches):  # the loop of its README
        if row not in gone:
            near = [other for other in index.query(sketch) if other > row and other not in gone]
            gone.update(other for other in near if sketch.jaccard(sketches[other]) >= threshold)
    write(read, [row not in gone for row in range(len(texts))], out)


def gaoya(src: Path, out: Path, threshold: float) -> None:
    from gaoya.minhash import MinHashStringIndex

    read = tables(src)
    texts = [text for table in read for text in table["text"].to_pylist()]
    bands, rows = (25, 10) if threshold < 0.8 else (16, 16)
    index = MinHashStringIndex(
        hash_size=32, jaccard_threshold=threshold, num_bands=bands, band_size=rows, analyzer="word",
        lowercase=True, ngram_range=(5, 5), id_container="smallvec",
    )  # fmt: skip
    blocks = [range(start, min(start + 1000, len(texts))) for start in range(0, len(texts), 1000)]
    for block in blocks:
        index.par_bulk_insert_docs(list(block), texts[block.start : block.stop])
    pairs = []
    for block in blocks:
        found = index.par_bulk_query(texts[block.start : block.stop])
        pairs += [(row, other) for row, others in zip(block, found, strict=True) for other in others]
    write(read, components(len(texts), pairs), out)


def datatrove(src: Path, out: Path, threshold: float) -> None:
    """Its four stages with the default 14 buckets of 8 hashes, which suit 0.72; one task per file."""
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
    )
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers.parquet import ParquetWriter
    from datatrove.utils.hashing import HashConfig

    work = out.with_name(out.name + "-work")
    shutil.rmtree(work, ignore_errors=True)
    config, files = (
        MinhashConfig(hash_config=HashConfig(precision=64), n_grams=5),
        len(list(src.glob("*.parquet"))),
    )
    reader = ParquetReader(str(src), glob_pattern="*.parquet")
    stages = (
        ([reader, MinhashDedupSignature(f"{work}/signatures", config=config)], files),
        ([MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config)], config.num_buckets),
        ([MinhashDedupCluster(f"{work}/buckets", f"{work}/remove", config=config)], 1),
        ([reader, MinhashDedupFilter(f"{work}/remove"), ParquetWriter(str(out), compression="zstd")], files),
    )
    for number, (pipeline, tasks) in enumerate(stages):
        logs = f"{work}/logs-{number}"
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=logs, skip_completed=False).run()
    shutil.rmtree(work)


def dataprepkit(src: Path, out: Path, threshold: float) -> None:
    """Its command line with 14 bands of 8, which it wants for 0.7; it needs numbers as ids."""
    import subprocess

    work = out.with_name(out.name + "-work")
    shutil.rmtree(work, ignore_errors=True)
    (work / "in").mkdir(parents=True)
    for file in sorted(src.glob("*.parquet")):
        table = pq.read_table(file)
        ids, contents = table["id"].cast(pa.int64()), table["text"].cast(pa.string())
        copied = pa.table({"id": table["id"], "int_id_column": ids, "contents": contents})
        pq.write_table(copied, work / "in" / file.name)
    options = {
        "input_folder": work / "in", "output_folder": work / "out", "contents_column": "contents",
        "document_id_column": "int_id_column", "num_permutations": 112, "num_bands": 14,
        "num_minhashes_per_band": 8, "jaccard_similarity_threshold": threshold,
        "operation_mode": "filter_duplicates",
    }  # fmt: skip
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    subprocess.run([sys.executable, "-m", "dpk_fdedup.transform_python", *flags], check=True)
    out.mkdir(parents=True)
    for file in sorted((work / "out").rglob("*.parquet")):
        if "contents" in pq.read_schema(file).names:
            file.replace(out / file.name)


TEXTDEDUP = """
[input]
input_type = "local_files"
file_type = "parquet"
[input.read_arguments]
path = "parquet"
data_files = {files}
split = "train"
[algorithm]
algorithm_name = "minhash"
text_column = "text"
num_proc = 1
num_perm = 256
threshold = {threshold}
ngram_size = 5
min_length = 5
hash_bits = 64
check_false_positive = true
[output]
output_dir = "{out}"
[debug]
enable_profiling = false
"""


def textdedup(src: Path, out: Path, threshold: float) -> None:
    """Release 0.4.1 with its check: without, that release removes every member of a cluster."""
    import os

    work = out.with_name(out.name + "-work")
    work.mkdir(parents=True, exist_ok=True)
    os.environ.update(HF_HOME=str(work / "hub"), HF_DATASETS_CACHE=str(work / "cache"), HF_HUB_OFFLINE="1")
    files = json.dumps([str(file) for file in sorted(src.glob("*.parquet"))])
    (work / "config.toml").write_text(TEXTDEDUP.format(files=files, threshold=threshold, out=out))
    os.chdir(work)
    from text_dedup.config import Config
    from text_dedup.minhash import main as minhash

    minhash(Config())
    from datasets import load_from_disk

    load_from_disk(str(out)).to_parquet(str(out / "kept.parquet"))


if __name__ == "__main__":
    tool, source, result, threshold = sys.argv[1:]
    globals()[tool](Path(source), Path(result), float(threshold))
