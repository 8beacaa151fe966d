"""What programs may read of this machine: their interpreter and its libraries, and nothing else."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_PACKAGES = "/packages"


def view(*, walls: bool, tools: Mapping[str, str] | None = None, warm: Sequence[str] = ()) -> dict[str, Any]:
    """Host paths by their path inside, what is hidden of them, and the slot's own import path.

    To be seen: the interpreter, its libraries, numpy; for programs of other languages their tools in
    numpy's place.  Not to be seen: other installed packages, one of which holds HumanEval's answers.

    Args:
        tools: What programs of another language read, as host paths by their path inside.
        warm: Modules that the slot imports beforehand, beside those that it always does.
    """
    paths = [sysconfig.get_path("stdlib"), f"{sys.base_prefix}/lib", *_LIBRARIES]
    path = [sysconfig.get_path("stdlib"), str(sysconfig.get_config_var("DESTSHARED"))]
    readable = _outermost({found: found for found in paths} | dict(tools or {}))
    if tools is None:
        numpy = _numpy()
        # Under a name of their own: the environment may lie below /tmp, where programs write.
        readable |= {f"{_PACKAGES}/{one.name}": str(one) for one in numpy}
        path += [_PACKAGES if walls else str(numpy[0].parent)] if numpy else []
    patterns = ("*-packages", "python*/*-packages")
    hidden = {str(found) for above in readable for one in patterns for found in Path(above).glob(one)}
    shown = {"readable": readable, "hidden": sorted(hidden), "path": path}
    return shown | {"commands": tools is not None, "warm": list(warm)}


def _outermost(paths: Mapping[str, str]) -> dict[str, str]:
    """Those that exist and lie below no other."""
    found: dict[str, str] = {}
    for inside in sorted(paths):
        if Path(paths[inside]).exists() and not any(inside.startswith(f"{above}/") for above in found):
            found[inside] = paths[inside]
    return found


def _numpy() -> list[Path]:
    """The package's directory and that of its libraries, where numpy is installed."""
    found = importlib.util.find_spec("numpy")
    if found is None or found.origin is None:
        return []
    package = Path(found.origin).parent
    return [one for one in (package, package.with_name("numpy.libs")) if one.is_dir()]
