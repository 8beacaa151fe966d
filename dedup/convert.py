"""Sources that are not parquet become parquet beside the output, as a stream: jsonl, Arrow, folders."""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

import corpus
from corpus import Refusal

log = logging.getLogger(__name__)

GROUP_BYTES = 8 << 20
"""A row group of a converted file is cut at about this much text."""

JSON = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json.zst", ".ndjson", ".json")


def parquet_files(path: Path, work: Path) -> Iterator[tuple[str, Path]]:
    """The parquet files that hold the rows of ``path``, each with a name for its shard.

    Args:
        path: A file or directory; what it holds first of: parquet, Arrow, jsonl, files of code.
        work: Where other formats are converted to; what is there already is not converted again.
    """
    if not path.exists():
        raise Refusal(f"{path} does not exist: give a finished table, parquet, jsonl or a folder of code.")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for suffixes, batches in (
        ((".parquet",), None),
        ((".arrow",), _arrow),
        (JSON[:-1], _json),
        (JSON, _json),
    ):
        found = [file for file in files if file.name.endswith(suffixes)]
        if suffixes == JSON and path.is_dir():
            break  # a folder of code may well hold .json files
        if found:
            met: Counter[str] = Counter()  # a.jsonl and a.jsonl.gz, or b/c and b-c
            for file in found:
                name = "-".join(file.relative_to(path).parts) if path.is_dir() else file.name
                stem = name.removesuffix(next(s for s in suffixes if name.endswith(s)))
                met[stem] += 1
                final = work / (f"{stem}.parquet" if met[stem] == 1 else f"{stem}~{met[stem]}.parquet")
                yield stem, file if batches is None else _converted(batches(file), final)
            return
    if not path.is_dir():
        raise Refusal(f"{path} is no parquet, jsonl or arrow file: convert it, or give the folder of code.")
    yield "files", _converted(_folder(path, files), work / "files.parquet")


def _converted(batches: Iterable[pa.RecordBatch], final: Path) -> Path:
    if final.exists():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = final.with_name(f".{final.name}.part")
    writer: pq.ParquetWriter | None = None
    try:
        for table in _joined(batches):
            writer = writer or pq.ParquetWriter(
                aside, table.schema, compression="zstd", **corpus.encodings(table)
            )
            writer.write_table(table)
        if writer is None:
            raise Refusal(f"{final.stem}: there are no rows in it: leave it out.")
    finally:
        if writer is not None:
            writer.close()
    aside.replace(final)
    return final


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches taken together up to about ``GROUP_BYTES``."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size >= GROUP_BYTES:
            yield pa.Table.from_batches(held)
            held, size = [], 0
    if held:
        yield pa.Table.from_batches(held)


def _arrow(path: Path) -> Iterator[pa.RecordBatch]:
    """Batches of a file as Hugging Face ``datasets`` saves them (stream format), or of a Feather file."""
    try:
        with pa.memory_map(str(path)) as source:
            try:
                reader = pa.ipc.open_stream(source)
            except pa.ArrowInvalid:
                reader = pa.ipc.open_file(source)
                yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
                return
            yield from reader
    except (pa.ArrowInvalid, OSError) as error:
        raise Refusal(f"{path} is damaged or not Arrow ({_first_line(error)}): leave it out.") from None


def _json(path: Path) -> Iterator[pa.RecordBatch]:
    """Batches of a file of one JSON object per line; the first block of lines settles the columns."""
    schema: pa.Schema | None = None
    try:
        for block in _blocks(path):
            parse = pa.json.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="error" if schema else "infer"
            )
            read = pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
            table = pa.json.read_json(io.BytesIO(block), read_options=read, parse_options=parse)
            schema = schema or table.schema
            yield from table.select(schema.names).to_batches()
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise Refusal(
            f"{path} is not one kind of JSON object per line ({_first_line(error)}): mend it."
        ) from None


def _blocks(path: Path) -> Iterator[bytes]:
    """Whole lines, about ``GROUP_BYTES`` at a time."""
    rest = b""
    with pa.input_stream(str(path), compression="detect") as stream:
        while more := stream.read(GROUP_BYTES):
            block, newline, tail = more.rpartition(b"\n")
            if newline:
                yield rest + block + newline
                rest = tail
            else:
                rest += more
    if rest.strip():
        yield rest


def _folder(path: Path, files: list[Path]) -> Iterator[pa.RecordBatch]:
    """Every text file below ``path``, by its path; hidden, linked and binary files are passed over."""
    schema = pa.schema([("id", pa.large_string()), ("path", pa.large_string()), ("text", pa.large_string())])
    passed = 0
    for file in files:
        name = file.relative_to(path)
        if any(part.startswith(".") for part in name.parts) or file.is_symlink():
            continue
        text = _text_of(file)
        if text is None:
            passed += 1
            continue
        yield pa.record_batch([[name.as_posix()], [name.as_posix()], text], schema=schema)
    if passed:
        log.info("%s: %s files are not UTF-8 text and were passed over", path, f"{passed:,}")


def _text_of(file: Path) -> pa.Array | None:
    """The one text of a file, as it was read and not copied; None if it is binary or not UTF-8."""
    raw = file.read_bytes()
    ends = pa.py_buffer(np.array([0, len(raw)]))
    text = pa.Array.from_buffers(pa.large_string(), 1, [None, ends, pa.py_buffer(raw)])
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return None if b"\0" in raw else text


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
