"""One hostile program for each promise of the sandbox, run as root (where the tests are) and as a user.

A program whose expected verdict is "passed" looks for itself: it asserts that it could do no harm.
"""

import os
import socket
import tempfile
import warnings
from pathlib import Path

import pytest

from evals import tiers
from tests.unit.evals.run_as import EVERYWHERE, TIERS, WHO, programs, tried

REFUSED = """
def refused(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        return
    raise AssertionError(f"{call} {arguments} was allowed")
"""

ATTACKS = programs("attacks.txt")
OTHERS = programs("attacks_of_languages.txt")
ONCE = [(uid, tier) for uid, tier in EVERYWHERE if tier == TIERS[0] or uid == WHO[-1]]
"""In other languages: each costs a compiler, and root's programs run as nobody too."""


@pytest.mark.parametrize("tier", sorted(tiers.TIERS.keys() - {"none", "gvisor"}))
def test_every_tier_that_this_machine_has_is_attacked(tier):
    if tier not in TIERS:
        pytest.skip(tiers.find(tier).missing())
    assert tier in {name for _, name in EVERYWHERE}


@pytest.fixture(scope="module", params=EVERYWHERE, ids=str)
def attacked(request):
    """A tier, and what became of every attack on it."""
    uid, tier = request.param
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        tempfile.NamedTemporaryFile(dir=Path.home(), prefix=".fathom-test-") as secret,
        tempfile.TemporaryDirectory(dir="/var/tmp", prefix="fathom-test-") as place,
    ):
        readable = Path(place) / "open"
        readable.write_text("secret")
        for path in (readable, Path(place)):
            path.chmod(0o777)
            os.chown(path, uid, -1)
        head = (
            f"PORT = {server.getsockname()[1]}\nSECRET = {secret.name!r}\nOPEN = {str(readable)!r}\n{REFUSED}"
        )
        found = tried(uid, tier, {name: head + attack.text for name, attack in ATTACKS.items()})
        assert list(Path(place).iterdir()) == [readable] and readable.read_text() == "secret"
        return tier, found


@pytest.fixture(scope="module", params=ONCE, ids=str)
def attacked_in_languages(request):
    """A tier, and what became of every attack on it in another language whose tools are here."""
    uid, tier = request.param
    return tier, tried(uid, tier, {name: attack.text for name, attack in OTHERS.items()}, languages=True)


@pytest.mark.parametrize("attack", OTHERS)
def test_attack_in_another_language_is_contained(attacked_in_languages, attack):
    tier, verdicts = attacked_in_languages
    verdict = verdicts.get(attack)
    if verdict is None:
        warnings.warn(f"{attack} was not run: its tools are not installed", stacklevel=1)
        pytest.skip("its tools are not installed")
    assert verdict["verdict"] == OTHERS[attack].expected(tier), verdict
    assert verdict["memory_bytes"] < 512 << 20


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_is_contained(attacked, attack):
    tier, verdicts = attacked
    verdict = verdicts[attack]
    assert verdict["verdict"] == ATTACKS[attack].expected(tier), verdict
    assert verdict["memory_bytes"] < 512 << 20 and verdict["tier"] == tier
    assert len(verdict["detail"] or "") < 1000 and len(verdict["output"]) <= 4096
