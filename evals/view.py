"""What programs may read of this machine: their interpreter and its libraries, and nothing else."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions, packages_distributions, version
from pathlib import Path
from typing import Any

from corpus import Refusal

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
PACKAGES_INSIDE = "/packages"
"""Where programs find packages in a root of their own, by a name that no host path has: the environment may
lie below /tmp, where programs write."""

# fmt: off
PACKAGES = (
    "numpy", "sympy", "mpmath", "antlr4", "pandas", "dateutil", "six", "pytz", "tzdata", "scipy", "sklearn",
    "joblib", "threadpoolctl", "narwhals",
)
# fmt: on
"""What Python programs may import beside the standard library, where it is installed: DeepSeek's import
header needs numpy, the programs of MATH sympy, DS-1000 pandas, scipy, scikit-learn and what these import."""


def view(
    *,
    tools: Mapping[str, str] | None = None,
    warm: Sequence[str] = (),
    folder: Path | None = None,
) -> dict[str, Any]:
    """Host paths by their path inside, what is hidden of them, and the slot's own import path.

    To be seen: the interpreter, its libraries, ``PACKAGES``; for programs of other languages their tools
    in their place.  Not to be seen: other installed packages, one of which holds HumanEval's answers.

    Args:
        tools: What programs of another language read, as host paths by their path inside.
        warm: Modules that the slot imports beforehand, beside those that it always does.
        folder: Packages in place of ``PACKAGES``.
    """
    paths = [sysconfig.get_path("stdlib"), f"{sys.base_prefix}/lib", *_LIBRARIES]
    path = [sysconfig.get_path("stdlib"), str(sysconfig.get_config_var("DESTSHARED"))]
    readable = _outermost({found: found for found in paths} | dict(tools or {}))
    if tools is None:
        seen = packages(folder)
        readable |= {f"{PACKAGES_INSIDE}/{name}": str(place) for name, place in seen.items()}
        path.append(PACKAGES_INSIDE)
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


def versions(folder: Path | None = None) -> dict[str, str]:
    """The versions of what programs may import, by the names of the distributions that hold it.

    Args:
        folder: As for ``packages``.
    """
    if folder is not None:
        found = {one.name: one.version for one in distributions(path=[str(folder)])}
    else:
        owners, seen = packages_distributions(), packages()
        found = {owner: version(owner) for name in PACKAGES if name in seen for owner in owners.get(name, ())}
    return dict(sorted(found.items()))


def packages(folder: Path | None = None) -> dict[str, Path]:
    """What programs may import beside the standard library, by file name.

    Args:
        folder: All that is in it; without it the packages of ``PACKAGES`` that are installed here.
    """
    if folder is not None:
        if not folder.is_dir():
            raise Refusal(f"{folder} is not a folder: give --packages one that pip install --target made.")
        return {place.name: place.resolve() for place in sorted(folder.iterdir())}
    found: dict[str, Path] = {}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        place = Path(spec.origin)
        place = place.parent if spec.submodule_search_locations else place
        libraries = place.with_name(f"{name}.libs")
        found |= {one.name: one for one in (place, libraries) if one.exists()}
    return found
