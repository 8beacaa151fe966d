"""One hostile program for each promise of the sandbox, run as root (where the tests are) and as a user.

A program whose expected verdict is "passed" looks for itself: it asserts that it could do no harm.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from tests.unit.evals.run_as import programs

NOBODY = 65534
WHO = sorted({os.getuid(), NOBODY}) if os.getuid() == 0 else [os.getuid()]

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


@pytest.fixture(scope="module")
def verdicts():
    """What became of every attack, by uid; programs run in the order given, in one slot."""
    helper = Path(__file__).with_name("run_as.py")
    found = {}
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        tempfile.NamedTemporaryFile(dir=Path.home(), prefix=".fathom-test-") as secret,
    ):
        head = f"PORT = {server.getsockname()[1]}\nSECRET = {secret.name!r}\n{REFUSED}"
        hostile = json.dumps({name: head + program for name, (_, program) in ATTACKS.items()})
        for uid in WHO:
            environment = os.environ | {"FATHOM_TEST_SECRET": "TOKEN"}
            command = [sys.executable, str(helper), str(uid)]
            done = subprocess.run(command, input=hostile, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            found[uid] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def verdicts_of_languages():
    """What became of every attack in another language whose tools are here, by uid."""
    helper = Path(__file__).with_name("run_as.py")
    hostile = json.dumps({name: program for name, (_, program) in OTHERS.items()})
    environment = os.environ | {"FATHOM_TEST_SECRET": "TOKEN"}
    found = {}
    for uid in WHO:
        command = [sys.executable, str(helper), str(uid), "languages"]
        done = subprocess.run(command, input=hostile, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found[uid] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("attack", OTHERS)
@pytest.mark.parametrize("uid", WHO)
def test_attack_in_another_language_is_contained(verdicts_of_languages, uid, attack):
    verdict = verdicts_of_languages[uid].get(attack)
    if verdict is None:
        warnings.warn(f"{attack} was not run: its tools are not installed", stacklevel=1)
        pytest.skip("its tools are not installed")
    assert verdict["verdict"] == OTHERS[attack][0], verdict
    assert verdict["memory_bytes"] < 512 << 20


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("uid", WHO)
def test_attack_is_contained(verdicts, uid, attack):
    verdict = verdicts[uid][attack]
    assert verdict["verdict"] == ATTACKS[attack][0], verdict
    assert verdict["memory_bytes"] < 512 << 20
    assert len(verdict["detail"] or "") < 1000 and len(verdict["output"]) <= 4096
