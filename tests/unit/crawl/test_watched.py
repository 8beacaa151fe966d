"""What a grammar does to its process is an answer, and the next file is parsed all the same."""

import os
import signal
import time

import pytest

from crawl.syntax import Outcome, look
from crawl.watched import Watched


def obey(source: bytes, grammar: str) -> Outcome:
    """A stand-in for a grammar with every fault: the source says what happens to the process."""
    if source == b"die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if source == b"exit":
        os._exit(0)
    if source == b"spin":
        while True:
            pass
    if source == b"eat":
        bytearray(64 << 30)
    if source == b"bug":
        raise ValueError("this is ours")
    return look(source, grammar)


def test_the_grammar_that_never_returns_is_stopped_and_the_next_file_is_parsed() -> None:
    with Watched(0.5) as watched:
        assert watched.look(b"a = 1", "cobol") == Outcome("timeout")
        assert watched.look(b"import os", "python") == Outcome("parsed", 0.0, ("os",))


@pytest.mark.parametrize(
    ("source", "status"),
    [(b"die", "crashed"), (b"exit", "crashed"), (b"eat", "crashed"), (b"spin", "timeout")],
)
def test_a_dying_process_costs_its_own_file_and_no_other(source: bytes, status: str) -> None:
    with Watched(0.5, obey) as watched:
        answers = [watched.look(text, "python").status for text in (b"x = 1", source, b"x = 1")]
    assert answers == ["parsed", status, "parsed"]


@pytest.mark.parametrize("together", [1, 20, 1 << 20])
def test_files_sent_together_are_answered_as_if_sent_alone(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawl.watched.BATCH", together)
    sources = [b"import os", b"die", b"", b"x = (", b"\n\xc3\xa9 = 1\n", b"spin", b"exit", b"import re\n"]
    with Watched(0.5, obey) as watched:
        alone = [watched.look(source, "python") for source in sources]
        assert list(watched.look_all((source, "python") for source in sources)) == alone
        assert list(watched.look_all([])) == []
    assert [outcome.status for outcome in alone] == (
        ["parsed", "crashed", "parsed", "parsed", "parsed", "timeout", "crashed", "parsed"]
    )


def tired(source: bytes, grammar: str) -> Outcome:
    """Bears one file a process."""
    TIRED.append(source)
    return obey(source if len(TIRED) == 1 else b"die", grammar)


TIRED: list[bytes] = []


def test_what_a_process_read_before_does_not_decide_about_a_file() -> None:
    with Watched(5, tired) as watched:
        assert [watched.look(b"x = 1", "python").status for _ in range(3)] == ["parsed"] * 3
        assert [one.status for one in watched.look_all([(b"x = 1", "python")] * 3)] == ["parsed"] * 3


def test_a_bug_of_ours_is_raised_and_not_counted_as_odd_data() -> None:
    with Watched(5, obey) as watched, pytest.raises(RuntimeError, match="this is ours"):
        list(watched.look_all([(b"x = 1", "python"), (b"bug", "python")]))


def test_no_process_is_left_behind() -> None:
    with Watched(5) as watched:
        pid = watched._child.pid
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and os.path.exists(f"/proc/{pid}"):  # noqa: PTH110
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(pid or 0, 0)


def test_a_hundred_thousand_brackets_are_only_a_deep_tree() -> None:
    with Watched(20) as watched:
        assert watched.look(b"[" * 100_000 + b"]" * 100_000, "python").status == "parsed"
