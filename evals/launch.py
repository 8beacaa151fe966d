"""The commands that start a slot, each behind walls of another make.

A slot behind namespaces or Landlock is its bare interpreter, which builds or closes them itself; the others
are started inside.  In a root that is made for a slot (bubblewrap, docker) its code lies at ``/fathom``.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.slot import room
from evals.slot.job import Limits
from evals.slot.room import DEVICES, WORK

PYTHON = ("-s", "-S", "-P", "-B", "-X", "utf8", "-c")
_START = "import sys; sys.path.insert(0, {!r}); from evals.slot.main import main; main()"
_EVALS = Path(__file__).parent
_CODE = "/fathom"

_IMAGE = "fathom-sandbox:2"
_CONTAINER_MEMORY = "8g"
"""Of a slot as a whole: the program's own limit is the slot's to keep, and comes with each job."""

_MACOS = ("/usr/lib", "/usr/share", "/System/Library", "/System/Volumes/Preboot/Cryptexes", "/Library/Apple")
"""What every program of macOS reads."""

_SECONDS_TO_TELL = 20.0

View = Mapping[str, Any]


def python(view: View, folder: str) -> list[str]:
    """The slot's interpreter, as it lies on the host."""
    return [sys.executable, *PYTHON, _START.format(str(_EVALS.parent))]


def bwrap(view: View, folder: str) -> list[str]:
    """bubblewrap, which makes the root that ``slot.room`` would, and the slot as its process 1.

    Started by root it makes no user namespace, and leaves the slot two capabilities, to become nobody with.
    """
    command = [shutil.which("bwrap") or "bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net"]
    command += ["--unshare-uts", "--unshare-cgroup-try", "--die-with-parent", "--as-pid-1"]
    command += ["--hostname", "sandbox"]
    if os.getuid() == 0:
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    shown = _shown(view)
    places = {above for inside in (*shown, "/dev/null") for above in Path(inside).parents}
    for above in sorted(map(str, places - {Path("/")})):
        command += ["--perms", "755", "--dir", above]  # bwrap would close those that are closed on the host
    for inside, path in shown.items():
        command += ["--ro-bind", path, inside]
    for covered in view["hidden"]:
        command += ["--size", "65536", "--tmpfs", covered, "--remount-ro", covered]
    for name in DEVICES:
        command += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for link, target in _links(view).items():
        command += ["--symlink", target, link]
    command += ["--proc", "/proc", "--perms", "1777", "--size", str(Limits().disk_bytes), "--tmpfs", WORK]
    return [*command, "--remount-ro", "/", "--chdir", "/", *_inside()]


def docker(runtime: str, view: View, folder: str) -> list[str]:
    """A container of an image that holds as good as nothing; what programs read is bound into it.

    Args:
        runtime: Docker's name of it; its default one if empty.
    """
    command = [_docker(), "run", "--rm", "--interactive", "--network", "none", "--ipc", "none", "--read-only"]
    command += ["--pull", "never"]  # an image of that name from elsewhere would be a stranger's
    command += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--hostname", "sandbox"]
    command += ["--pids-limit", "256", "--memory", _CONTAINER_MEMORY, "--log-driver", "none"]
    command += ["--env", "PYTHONHASHSEED=0", "--env", "OPENBLAS_NUM_THREADS=1", "--workdir", "/"]
    command += ["--runtime", runtime] if runtime else []
    command += _as_root() if runtime else ["--user", str(room.new_identity())]
    for inside, path in _shown(view).items():
        command += ["--mount", f"type=bind,source={os.path.realpath(path)},target={inside},readonly"]
    # Mapped shared, /dev/zero is memory that no process's resident size shows.
    command += ["--mount", "type=bind,source=/dev/null,target=/dev/zero"]
    for covered in (*view["hidden"], "/dev/shm", "/tmp"):  # noqa: S108  (inside; gVisor would make /tmp writable)
        command += ["--tmpfs", f"{covered}:ro,size=64k"]
    command += ["--tmpfs", f"{WORK}:rw,exec,nosuid,nodev,mode=1777,size={Limits().disk_bytes}"]
    return [*command, _image(), *_inside()]


def _as_root() -> list[str]:
    """The slot stays root of its container, and its programs become somebody else.

    gVisor shows a process to all of the same user in /proc, whatever the process says of that.
    """
    needed = ("CHOWN", "SETUID", "SETGID", "KILL", "DAC_OVERRIDE", "FOWNER")
    return ["--user", "0:0", *(word for name in needed for word in ("--cap-add", name))]


def _image() -> str:
    """An image that holds one link, which programs expect; it is made when it is missing."""
    if subprocess.run([_docker(), "image", "inspect", _IMAGE], capture_output=True, check=False).returncode:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            link = tarfile.TarInfo("bin")
            link.type, link.linkname = tarfile.SYMTYPE, "usr/bin"
            tar.addfile(link)
        run = [_docker(), "import", "-", _IMAGE]
        subprocess.run(run, input=archive.getvalue(), capture_output=True, check=False)
    return _IMAGE


def sandbox_exec(view: View, folder: str) -> list[str]:
    """macOS's sandbox, under a profile that refuses whatever it does not name."""
    return ["/usr/bin/sandbox-exec", "-p", profile(view, folder), *python(view, folder)]


def profile(view: View, folder: str) -> str:
    """What programs may do on macOS, in the sandbox's own language; the last rule that fits counts."""
    readable = {os.path.realpath(path) for path in view["readable"].values()}
    readable |= {str(_EVALS / name) for name in ("__init__.py", "slot")} | {os.path.realpath(sys.base_prefix)}
    hidden = {os.path.realpath(path) for path in view["hidden"]}
    packages = {path for path in readable if any(path.startswith(f"{above}/") for above in hidden)}
    rules = [
        "(version 1)",
        "(deny default)",
        "(allow process-fork)",
        "(allow signal (target same-sandbox))",
        "(allow sysctl-read)",
        "(allow file-read-metadata)",
        f"(allow file-read* {_paths('literal', ['/', *(f'/dev/{name}' for name in DEVICES)])})",
        f"(allow file-read* {_paths('subpath', [*_MACOS, *sorted(readable), folder])})",
        *([f"(deny file-read* {_paths('subpath', sorted(hidden))})"] if hidden else []),
        *([f"(allow file-read* {_paths('subpath', sorted(packages))})"] if packages else []),
        f"(allow process-exec {_paths('subpath', [*_MACOS, *sorted(readable), folder])})",
        f'(allow file-write* {_paths("subpath", [f"{folder}/work"])} (literal "/dev/null"))',
    ]
    return "\n".join(rules)


def _paths(kind: str, paths: Sequence[str]) -> str:
    """Filters of the profile's language, with the paths as its strings."""
    quoted = (path.replace("\\", "\\\\").replace('"', '\\"') for path in paths)
    return " ".join(f'({kind} "{path}")' for path in quoted)


def _inside() -> list[str]:
    """The slot's interpreter in a root that was made for it."""
    return [os.path.realpath(sys.executable), *PYTHON, _START.format(_CODE)]


def _shown(view: View) -> dict[str, str]:
    """Host paths by their path in such a root: the view, the interpreter and the slot's own code."""
    interpreter = os.path.realpath(sys.executable)
    code = {f"{_CODE}/evals/{name}": str(_EVALS / name) for name in ("__init__.py", "slot")}
    return dict(view["readable"]) | {interpreter: interpreter} | code


def _links(view: View) -> dict[str, str]:
    """The links of such a root with their targets, as ``slot.room`` makes them."""
    taken = {Path(inside).parts[1] for inside in (*view["readable"], os.path.realpath(sys.executable))}
    links = {"/dev/shm": WORK} | ({} if "tmp" in taken else {"/tmp": WORK})  # noqa: S108  (inside)
    if view["commands"]:
        links |= {"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0"}
        links |= {"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2"}
        links |= {} if "bin" in taken else {"/bin": "usr/bin"}
    return links


def no_linux() -> str | None:
    """Why there are no walls of Linux here."""
    return None if sys.platform == "linux" else f"this is {sys.platform}, not Linux"


def no_macos() -> str | None:
    """Why there is no sandbox-exec here."""
    return None if sys.platform == "darwin" else f"this is {sys.platform}, not macOS"


def no_docker(runtime: str) -> str | None:
    """Why there is no container here with this runtime."""
    try:
        run = [_docker(), "info", "--format", "{{range $name, $_ := .Runtimes}}{{$name}} {{end}}"]
        told = subprocess.run(run, capture_output=True, text=True, check=False, timeout=_SECONDS_TO_TELL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"docker gives no answer: {error}"
    if told.returncode or not told.stdout.strip():
        return f"docker gives no answer: {(told.stderr.strip() or 'no server').splitlines()[-1]}"
    return None if not runtime or runtime in told.stdout.split() else f"docker has no runtime {runtime}"


def _docker() -> str:
    return shutil.which("docker") or "docker"


def no_bwrap() -> str | None:
    """Why there is no bubblewrap here that could do it."""
    if sys.platform != "linux":
        return no_linux()
    program = shutil.which("bwrap")
    if program is None:
        return "bwrap is not installed"
    told = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
    return None if "--size" in told else "this bwrap is older than 0.7"
