"""Run hostile programs in one sandbox as some user: ``python run_as.py UID TIER < asked > {name: verdict}``.

Root first moves to a mount namespace of its own where the interpreter can be reached by everyone: it may lie
in a home directory that is closed to others.  Then it becomes the user.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pytest

from evals import tiers
from evals.runtimes import Missing
from evals.sandbox import Limits, Sandbox, Test, probe
from evals.slot import kernel

NOBODY = 47110
"""An ordinary user who runs nothing else: without namespaces some limits count all of a user's processes."""
WHO = sorted({os.getuid(), NOBODY}) if os.getuid() == 0 else [os.getuid()]
TIERS = [name for name, tier in tiers.TIERS.items() if name != "none" and tier.missing() is None]
EVERYWHERE = [
    (uid, name)
    for name in TIERS
    for uid in WHO
    if name != "gvisor" and (uid == os.getuid() or not tiers.find(name).asked)
]
"""Who starts a sandbox, and in which tier.  Containers are for who may speak to docker; gVisor's own
clock and memory move too many verdicts between timeout, memory and the expected one (docs/evals.md)."""

LIMITS = Limits(
    cpu_seconds=1, memory_bytes=256 << 20, disk_bytes=8 << 20, disk_files=512, output_bytes=1 << 20
)


class Program(NamedTuple):
    text: str
    verdict: str
    elsewhere: dict[str, str]
    """The verdict in tiers where it is another one."""

    def expected(self, tier: str) -> str:
        return self.elsewhere.get(tier, self.verdict)


def programs(name: str) -> dict[str, Program]:
    """The programs in a file of this directory."""
    text = Path(__file__).with_name(name).read_text()
    parts = re.split(r"^=== (\w+): (\w+)((?:, \w+: \w+)*)$|^---.*$", text, flags=re.MULTILINE)
    return {
        key: Program(code, verdict, dict(re.findall(r"(\w+): (\w+)", elsewhere)))
        for key, verdict, elsewhere, code in zip(*(parts[n::4] for n in (1, 2, 3, 4)), strict=True)
        if key
    }


def tried(uid, tier, hostile, **asked):
    """Verdicts by name; programs run in the order given, in one slot; skipped without the tier.

    Args:
        languages: Each program is in the language its name begins with; left out without its tools.
        test: What they are tested with: the text, then the names it calls.
    """
    reason = tiers.find(tier).missing() or probe(tier)
    if reason is not None and "closed to other users" not in reason:
        warnings.warn(f"{tier} was not attacked: {reason}", stacklevel=1)
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, __file__, str(uid), tier],
        input=json.dumps({"programs": hostile, **asked}),
        env=os.environ | {"FATHOM_TEST_SECRET": "TOKEN"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def open_the_way() -> None:
    """Let every user run this same interpreter, whoever may enter the directories it lies in."""
    kernel.unshare(kernel.NEWNS)
    kernel.mount("none", "/", "", kernel.REC | kernel.PRIVATE)
    needed = {Path(sys.base_prefix), Path(sys.prefix), Path(__file__).resolve().parents[3]}
    closed = {above for path in needed for above in path.parents if not above.stat().st_mode & 1}
    for above in sorted(closed, key=lambda path: len(path.parts))[:1]:
        held = {path: os.open(path, os.O_PATH) for path in needed if above in path.parents}
        kernel.mount("tmpfs", str(above), "tmpfs", 0, "mode=755")
        for path, file in held.items():
            path.mkdir(parents=True)
            kernel.mount(f"/proc/self/fd/{file}", str(path), "", kernel.BIND)
            os.close(file)


def become(uid: int) -> None:
    """Leave root for an ordinary user who can run this same interpreter."""
    open_the_way()
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    kernel.set_dumpable()


def main() -> None:
    uid, tier = sys.argv[1:]
    if os.getuid() != int(uid):
        become(int(uid))
    elif tier == "landlock" and os.getuid() == 0:
        open_the_way()
    asked = json.load(sys.stdin)
    test = Test(asked["test"][0], asked["test"][1:]) if "test" in asked else None
    with Sandbox(LIMITS, tier=tier) as sandbox:
        verdicts = {}
        for name, program in asked["programs"].items():
            language = name.split("_")[0] if "languages" in asked else "python"
            with contextlib.suppress(Missing):
                verdicts[name] = asdict(sandbox.run(program, language=language, test=test))
    json.dump(verdicts, sys.stdout)


if __name__ == "__main__":
    main()
