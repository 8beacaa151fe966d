"""Archives as streams of entries: tar (gz, bz2, xz, zst) and zip, never unpacked to disk.

An archive is given up whole, as ``BadRepo``, when it is broken anywhere or asks for more than the
caps allow; so what comes out of an archive never depends on where it broke.  The caps count bytes
that were really unpacked, whatever the archive claims.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import zstandard

from crawl.sources.entry import BadRepo, Caps, Entry

SLACK = 1 << 20
"""Bytes that any archive may unpack to, whatever its own size: tiny text packs very well."""

MAX_HEADER = 1 << 20
"""Bytes of one extended header; honest ones hold a long path."""

NAMED = 256
"""Bytes of a zip's list of members for every file that a repo may have; honest ones take half of it."""

_DIGITS = re.compile(rb"[0-9]{100}")

_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    struct.error,
    EOFError,
    ValueError,  # numbers and names in headers
    IndexError,
    KeyError,
    NotImplementedError,  # zipfile on strong encryption, patched data and newer versions
    RuntimeError,  # an encrypted zip
)


def entries(path: Path, caps: Caps) -> Iterator[Entry]:
    """Everything in an archive that is not a directory, in the archive's order.

    Raises:
        BadRepo: The archive is broken or larger than ``caps``.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(6)
            file.seek(0)
            if magic.startswith(b"PK"):
                yield from _zip_entries(file, path.stat().st_size, caps)
            else:
                yield from _tar_entries(_unpacked(file, magic), path.stat().st_size, caps)
    except _BROKEN as error:
        raise BadRepo("broken_archive", f"{type(error).__name__}: {error}"[:200]) from None
    except OSError as error:
        # A zip that sends us before its own beginning is EINVAL; anything else is the disk's trouble.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise BadRepo("broken_archive", f"{type(error).__name__}: {error}"[:200]) from None


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Meter(io.RawIOBase):
    """Counts what is unpacked from an archive of ``size`` bytes, and stops a bomb."""

    def __init__(self, size: int, caps: Caps, stream: _Readable | None = None) -> None:
        self.stream = stream
        self.packed = size
        self.caps = caps
        self.unpacked = 0

    def read(self, size: int = -1) -> bytes:
        assert self.stream is not None
        data = self.stream.read(size)
        self.add(len(data))
        return data

    def add(self, count: int) -> None:
        self.unpacked += count
        if self.unpacked > self.caps.repo_bytes:
            raise BadRepo("too_large", f"unpacks to more than {self.caps.repo_bytes} bytes")
        if self.unpacked > self.caps.ratio * self.packed + SLACK:
            raise BadRepo("bomb", f"unpacks to more than {self.caps.ratio} times its size")


class _Undigital:
    """What pax headers are read through: on a run of digits, ``tarfile`` takes the square of its length.

    CVE-2024-6232, in Python before 3.11.10: half a megabyte of digits took minutes.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        if _DIGITS.search(data):
            raise BadRepo("bomb", "a tar header of digits")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Member(tarfile.TarInfo):
    """A tar header that is strict: ``tarfile`` takes a broken header in the middle for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if type(error).__name__ not in ("InvalidHeaderError", "TruncatedHeaderError"):
                raise  # the end of the archive
            raise BadRepo("broken_archive", f"tar header: {error}") from None

    def _proc_gnulong(self, tar: tarfile.TarFile) -> Any:
        return self._limited(tar, "_proc_gnulong")

    def _proc_pax(self, tar: tarfile.TarFile) -> Any:
        stream: Any = tar.fileobj
        tar.fileobj = _Undigital(stream)
        try:
            return self._limited(tar, "_proc_pax")
        finally:
            tar.fileobj = stream

    def _limited(self, tar: tarfile.TarFile, process: str) -> Any:
        """``tarfile`` reads such a header into memory, of whatever size it says it is."""
        if self.size > MAX_HEADER:
            raise BadRepo("bomb", f"a tar header of {self.size} bytes")
        return getattr(super(), process)(tar)


def _unpacked(file: IO[bytes], magic: bytes) -> _Readable:
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if magic.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(file)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(file)
    return file


def _tar_entries(stream: _Readable, size: int, caps: Caps) -> Iterator[Entry]:
    meter = _Meter(size, caps, stream)
    with tarfile.open(fileobj=meter, mode="r|", tarinfo=_Member) as tar:
        for count, member in enumerate(tar, 1):
            _cap_files(count, caps)
            if member.isdir():
                continue
            if not member.isreg():
                yield Entry(member.name, "symlink" if member.issym() else "special", 0)
            elif member.size > caps.file_bytes:
                yield Entry(member.name, "file", member.size)
            else:
                content = tar.extractfile(member)
                assert content is not None, "a regular member has content"
                yield Entry(member.name, "file", member.size, _whole(content.read(), member.size))
    while meter.read(1 << 16):  # whatever follows the tar's end, up to the packing's own checksum
        pass


class _Sips:
    """A file that gives no more than so much at a time: zipfile reads its list of members at one go."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._most = file, most
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            here = self.tell()
            size = self.seek(0, 2) - here
            self.seek(here)
        if size > self._most + (1 << 20):
            raise BadRepo("too_many_files", f"a list of members of {size} bytes")
        return self._file.read(size)

    def seekable(self) -> bool:
        return True


def _zip_entries(file: IO[bytes], size: int, caps: Caps) -> Iterator[Entry]:
    meter = _Meter(size, caps)
    with zipfile.ZipFile(_Sips(file, caps.files * NAMED)) as archive:
        for count, info in enumerate(archive.infolist(), 1):
            _cap_files(count, caps)
            name = info.orig_filename  # ``filename`` is cut at a NUL
            mode = info.external_attr >> 16
            if name.endswith("/"):
                continue
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                yield Entry(name, "symlink" if stat.S_ISLNK(mode) else "special", 0)
            elif info.file_size > caps.file_bytes:
                yield Entry(name, "file", info.file_size)
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # zipfile unpacks the other methods without any limit: 443 bytes of bzip2 took 900 MB.
                raise BadRepo("broken_archive", f"a zip with packing method {info.compress_type}")
            else:
                with archive.open(info) as content:
                    data = content.read(caps.file_bytes + 1)
                meter.add(len(data))
                yield Entry(name, "file", info.file_size, _whole(data, info.file_size))


def _cap_files(count: int, caps: Caps) -> None:
    if count > caps.files:
        raise BadRepo("too_many_files", f"more than {caps.files}")


def _whole(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise BadRepo("broken_archive", f"a member of {size} bytes holds {len(data)}")
    return data
