"""Hostile and broken archives, all of them real."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from crawl import archives
from crawl.sources.entry import BadRepo, Caps, Entry, tidy

CAPS = Caps(file_bytes=10_000, repo_bytes=1 << 20, files=50, ratio=100)


def tar(members: dict[str, bytes], extra: list[tarfile.TarInfo] = []) -> bytes:  # noqa: B006
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def entries(tmp_path: Path, data: bytes, caps: Caps = CAPS) -> list[Entry]:
    path = tmp_path / "archive"
    path.write_bytes(data)
    return list(archives.entries(path, caps))


def reason(tmp_path: Path, data: bytes, caps: Caps = CAPS) -> str:
    with pytest.raises(BadRepo) as failure:
        entries(tmp_path, data, caps)
    return failure.value.reason


FILES = {"p/a.py": b"print(1)\n", "p/b/c.txt": b"x" * 3000}

PACKERS = {
    "tar": lambda: tar(FILES),
    "gz": lambda: gzip.compress(tar(FILES)),
    "bz2": lambda: bz2.compress(tar(FILES)),
    "xz": lambda: lzma.compress(tar(FILES)),
    "zst": lambda: zstandard.compress(tar(FILES)),
    "zip": lambda: zipped(FILES),
}


@pytest.mark.parametrize("packing", PACKERS)
def test_every_packing_gives_the_same_entries(tmp_path: Path, packing: str) -> None:
    found = entries(tmp_path, PACKERS[packing]())
    assert {entry.path: entry.data for entry in found} == FILES


@pytest.mark.parametrize("packing", PACKERS)
def test_an_archive_that_ends_early_is_given_up_whole(tmp_path: Path, packing: str) -> None:
    whole = PACKERS[packing]()
    cut = whole[:2000] if packing == "tar" else whole[: len(whole) - 20]
    assert reason(tmp_path, cut) == "broken_archive"


def test_a_spoiled_header_in_the_middle_is_no_end(tmp_path: Path) -> None:
    data = bytearray(tar(FILES))
    data[1024 + 10] ^= 1  # the second member's header, so its checksum is wrong
    assert reason(tmp_path, bytes(data)) == "broken_archive"


@pytest.mark.parametrize("bomb", [gzip.compress(tar({"a": bytes(900_000)})), lzma.compress(bytes(40 << 20))])
def test_a_bomb_is_stopped_by_what_it_unpacks_to(tmp_path: Path, bomb: bytes) -> None:
    caps = Caps(file_bytes=1 << 30, repo_bytes=500_000, files=50, ratio=1000)
    assert reason(tmp_path, bomb, caps) == "too_large"


def test_a_ratio_beyond_the_cap_is_a_bomb(tmp_path: Path) -> None:
    caps = Caps(file_bytes=1 << 30, repo_bytes=1 << 30, files=50, ratio=10)
    assert reason(tmp_path, gzip.compress(tar({"a": bytes(5 << 20)})), caps) == "bomb"
    assert reason(tmp_path, zipped({"a": bytes(5 << 20)}), caps) == "bomb"


def test_a_zip_that_lies_about_a_size_is_broken(tmp_path: Path) -> None:
    data = zipped({"a": bytes(9000)})
    size = (9000).to_bytes(4, "little")
    assert reason(tmp_path, data.replace(size, (10).to_bytes(4, "little"))) == "broken_archive"


def test_a_zip_packed_by_what_zipfile_unpacks_without_limit_is_given_up(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.py", b"x = 1\n")
    assert reason(tmp_path, file.getvalue()) == "broken_archive"


def test_a_zip_that_points_before_its_beginning_is_broken(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.py": b"x = 1\n"}))
    directory = data.index(b"PK\x01\x02")
    data[-6:-2] = (directory + 1000).to_bytes(4, "little")  # the directory's place: later than it is
    assert reason(tmp_path, bytes(data)) == "broken_archive"


def test_more_members_than_the_cap_are_too_many(tmp_path: Path) -> None:
    assert reason(tmp_path, tar({f"f{n}": b"" for n in range(51)})) == "too_many_files"
    assert reason(tmp_path, zipped({f"f{n}": b"" for n in range(51)})) == "too_many_files"


def test_a_list_of_members_larger_than_so_many_files_need_is_not_read(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for n in range(20):
            info = zipfile.ZipInfo(f"f{n}")
            info.comment = b"x" * 60_000
            archive.writestr(info, b"")
    assert reason(tmp_path, file.getvalue()) == "too_many_files"


def test_a_huge_extended_header_is_not_read_into_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 900_000_000
    assert reason(tmp_path, header.tobuf() + bytes(2048)) == "bomb"


def test_an_extended_header_of_digits_is_given_up_at_once(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = b"x", 1 << 19
    data = header.tobuf(tarfile.USTAR_FORMAT) + b"1" * header.size + tar({"a.py": b"x = 1\n"})
    assert reason(tmp_path, data) == "bomb"


def test_links_and_devices_are_named_and_never_followed(tmp_path: Path) -> None:
    link, hard, device = tarfile.TarInfo("link"), tarfile.TarInfo("hard"), tarfile.TarInfo("device")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard.type, hard.linkname = tarfile.LNKTYPE, "../../etc/passwd"
    device.type = tarfile.CHRTYPE
    found = entries(tmp_path, tar({}, [link, hard, device]))
    assert [(entry.path, entry.kind) for entry in found] == [
        ("link", "symlink"),
        ("hard", "special"),
        ("device", "special"),
    ]
    assert all(entry.data is None for entry in found)


@pytest.mark.parametrize("packed", ["tar", "zip"])
def test_a_name_that_is_no_utf8_is_text_or_no_name(tmp_path: Path, packed: str) -> None:
    plain = tar({"??.py": b"x = 1\n"}) if packed == "tar" else zipped({"??.py": b"x = 1\n"})
    if packed == "tar":  # a header's checksum is the sum of its bytes
        more = 2 * (0xFF - ord("?"))
        old = int(plain[148:154], 8)
        plain = b"\xff\xff" + plain[2:148] + b"%06o" % (old + more) + plain[154:]
    else:
        plain = plain.replace(b"??.py", b"\xff\xff.py")
    (entry,) = entries(tmp_path, plain)
    assert (tidy(entry.path) or "none").encode()  # a zip's is in code page 437, as its specification says
    assert entry.data == b"x = 1\n"


def test_a_file_above_the_cap_is_named_but_not_held(tmp_path: Path) -> None:
    found = entries(tmp_path, tar({"big": bytes(10_001), "small": b"1"}))
    assert [(entry.path, entry.size, entry.data) for entry in found] == [
        ("big", 10_001, None),
        ("small", 1, b"1"),
    ]


def test_nothing_is_written_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    entries(tmp_path, tar({"../escaped.py": b"", "/tmp/absolute.py": b"", "plain.py": b""}))
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
    assert not (tmp_path.parent / "escaped.py").exists()


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x.py",
        "a/../../x.py",
        "a\\b.py",
        "C:/x.py",
        "a\x00.py",
        "a\nb.py",
        "",
        ".",
        "d/" * 41 + "x",
    ],
)
def test_paths_that_play_tricks_are_refused(path: str) -> None:
    assert tidy(path) is None


@given(st.text(max_size=60))
def test_a_tidy_path_stays_below_its_root(path: str) -> None:
    clean = tidy(path)
    if clean is not None:
        assert ".." not in clean.split("/")
        assert not clean.startswith("/")
        assert tidy(clean) == clean


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_makes_an_archive_crash_the_reader(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    packed = bytearray(PACKERS[data.draw(st.sampled_from(sorted(PACKERS)))]())
    for _ in range(data.draw(st.integers(1, 5))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(packed)
    try:
        for entry in archives.entries(path, CAPS):
            assert entry.data is None or len(entry.data) == entry.size
    except BadRepo:
        pass
