"""Run programs in one sandbox as a given uid: ``python run_as.py UID < {name: program} > {name: verdict}``.

With a second argument, any, each program is in the language that its name begins with.

Root becomes the user first, in a mount namespace of its own where the interpreter can be reached: it may
lie in a home directory that is closed to others.
"""

import contextlib
import json
import os
import re
import sys
from dataclasses import asdict
from pathlib import Path

from evals.runtimes import Missing
from evals.sandbox import Limits, Sandbox
from evals.slot import kernel

LIMITS = Limits(
    cpu_seconds=1, memory_bytes=256 << 20, disk_bytes=8 << 20, disk_files=512, output_bytes=1 << 20
)


def programs(name: str) -> dict[str, tuple[str, str]]:
    """Expected verdict and text of each program in a file of this directory."""
    text = Path(__file__).with_name(name).read_text()
    parts = re.split(r"^=== (\w+): (\w+)$|^---.*$", text, flags=re.MULTILINE)
    return {
        key: (verdict, code)
        for key, verdict, code in zip(*(parts[n::3] for n in (1, 2, 3)), strict=True)
        if key
    }


def become(uid: int) -> None:
    """Leave root for an ordinary user who can run this same interpreter."""
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
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    kernel.set_dumpable()


def main() -> None:
    if os.getuid() != int(sys.argv[1]):
        become(int(sys.argv[1]))
    programs = json.load(sys.stdin)
    with Sandbox(LIMITS) as sandbox:
        verdicts = {}
        for name, program in programs.items():
            language = name.split("_")[0] if len(sys.argv) > 2 else "python"
            with contextlib.suppress(Missing):
                verdicts[name] = asdict(sandbox.run(program, language=language))
    json.dump(verdicts, sys.stdout)


if __name__ == "__main__":
    main()
