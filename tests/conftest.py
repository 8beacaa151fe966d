"""A small world for the tests that run the whole chain: hand-made repositories and one run of them."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test asserts a time, hypothesis' examples neither: machines are busy.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

ROOT = Path(__file__).resolve().parents[1]

CONTAMINATED = """
def has_close_elements(numbers, threshold):
    for idx, elem in enumerate(numbers):
        for idx2, elem2 in enumerate(numbers):
            if idx != idx2:
                distance = abs(elem - elem2)
                if distance < threshold:
                    return True

    return False
"""


def module(name: str, imports: list[str], functions: int = 12) -> str:
    """A Python module of its own words, long enough to pass the rules and to be compared."""
    lines = [f'"""Module {name}: shapes and their measures."""', ""]
    lines += [f"from .{other} import {other}_area_0" for other in imports]
    for n in range(functions):
        lines += [
            "",
            "",
            f"def {name}_area_{n}(width, height, {name}_scale={n}):",
            f'    """Area number {n} of a {name}, in square units of {name}."""',
            f"    if width < {n} or height < {n}:",
            f'        raise ValueError("a {name} must be at least {n} wide and high")',
            f"    {name}_total_{n} = width * height * {name}_scale",
            f"    return {name}_total_{n} + {n * 7}",
        ]
    return "\n".join(lines) + "\n"


def repositories() -> dict[str, dict[str, str | bytes]]:
    """Five repositories with every fate a file can have."""
    package = {
        "pkg/__init__.py": "from .circle import circle_area_0\nfrom .square import square_area_0\n",
        "pkg/point.py": module("point", []),
        "pkg/circle.py": module("circle", ["point"]),
        "pkg/square.py": module("square", ["point", "circle"]),
        "pkg/loop_a.py": module("loop_a", ["loop_b"]),
        "pkg/loop_b.py": module("loop_b", ["loop_a"]),
        "LICENSE": "MIT License\n\nPermission is hereby granted, free of charge, to any person\n" * 8,
        "README.md": "# Shapes\n\nMeasures of shapes, for tests that want a small real repository.\n" * 3,
    }
    copy = {path: text for path, text in package.items() if path != "README.md"}
    copy["pkg/point.py"] = module("point", []).replace("at least 3 wide", "no less than 3 wide")
    return {
        "shapes": package,
        "shapes-fork": copy,
        "numbers": {
            "src/numbers.py": module("numbers", []),
            "src/solution.py": module("solution", []) + CONTAMINATED,
            "src/broken.py": "def (((( broken ]]]] :::: \n" * 30,
            "src/wide.py": "x = '" + "y" * 2000 + "'\n",
            "src/digits.py": "1234567890, 1234567890, 1234567890\n" * 20,
            "src/blob.bin": bytes(range(256)) * 8,
            "src/hidden.py": b"x = 1\x00\x00\n" * 20,
            "notes.xyz": "a file of no known language\n",
        },
        "scripts": {
            "lib/queue.js": "\n".join(
                f"export function push{n}(queue) {{\n  return queue.items{n};\n}}" for n in range(20)
            ),
            "lib/main.js": "import { push0 } from './queue.js';\n\nexport const main = push0({});\n" * 2,
            "build.sh": "#!/bin/sh\nset -e\necho building the scripts\nfor f in lib/*.js; do echo $f; done\n",
        },
        "geometry": {f"geo/part{n}.py": module(f"part{n}", [f"part{n - 1}"] if n else []) for n in range(8)},
    }


def pytest_configure(config: pytest.Config) -> None:
    # Bits are compared with those of a processor, and processes are more than GPUs: no test sees a GPU but
    # those marked so, when they are asked for (`make check-gpu`).
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tables",
        type=lambda path: Path(path).resolve(),
        help="a finished run for tests/integration/test_card.py and test_explain.py; else the small world's",
    )


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The repositories as folders on disk."""
    root = tmp_path_factory.mktemp("repositories")
    for name, files in repositories().items():
        for path, content in files.items():
            file = root / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        (root / name / "link.py").symlink_to("nowhere.py")
    return {name: root / name for name in repositories()}


@pytest.fixture(scope="session")
def run_file(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of those folders that takes seconds a verb: `runs/tiny.toml` in its smallest form."""
    path = tmp_path_factory.mktemp("run") / "chain.toml"
    listed = ", ".join(f'"{folder}"' for folder in folders.values())
    path.write_text(
        (ROOT / "tests/data/chain.toml").read_text().replace("folders = []", f"folders = [{listed}]")
    )
    return path
