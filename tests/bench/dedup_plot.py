"""A plot as SVG: CPU seconds by size of the corpus, both logarithmic, a line per tool."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

Lines = dict[str, list[tuple[float, float]]]
"""By tool: GB of text and CPU seconds."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 440, 64, 150, 40, 48

OURS, LIMIT = "dedup", "limit"

COLOURS = {OURS: "#2563eb", LIMIT: "#111827"}

OTHERS = ("#b45309", "#7c3aed", "#0f766e", "#be185d", "#4d7c0f", "#64748b")


def drawn(lines: Lines) -> str:
    """The whole picture; ours is the heavy line, the limit the broken one."""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    frame = Frame(min(xs) / 1.15, max(xs) * 1.15, min(ys) / 1.6, max(ys) * 1.6)
    others = [tool for tool in lines if tool not in COLOURS]
    colours = COLOURS | {tool: OTHERS[i % len(OTHERS)] for i, tool in enumerate(others)}
    marks = [_axis(frame), *(_line(frame, points, colours[tool], tool) for tool, points in lines.items())]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        '<text x="12" y="22" font-weight="bold">CPU seconds by size of the corpus</text>'
        + "".join([*marks, *_names(frame, lines, colours)])
        + "</svg>\n"
    )


class Frame(NamedTuple):
    """Where a value stands on the two logarithmic axes."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        share = math.log(value / self.left) / math.log(self.right / self.left)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return (
            HEIGHT
            - BOTTOM
            - math.log(value / self.low) / math.log(self.high / self.low) * (HEIGHT - TOP - BOTTOM)
        )


def _axis(frame: Frame) -> str:
    parts = []
    for power in range(math.floor(math.log10(frame.low)), math.ceil(math.log10(frame.high)) + 1):
        if frame.low <= 10**power <= frame.high:
            y = frame.y(10**power)
            parts.append(
                f'<line x1="{LEFT}" y1="{y:.0f}" x2="{WIDTH - RIGHT}" y2="{y:.0f}" stroke="#e5e7eb"/>'
                f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{10**power:g} s</text>'
            )
    for size in (0.1, 0.2, 0.5, 1, 2):
        if frame.left <= size <= frame.right:
            x = frame.x(size)
            parts.append(
                f'<line x1="{x:.0f}" y1="{TOP}" x2="{x:.0f}" y2="{HEIGHT - BOTTOM}" stroke="#f3f4f6"/>'
                f'<text x="{x:.0f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{size:g} GB</text>'
            )
    return "".join(parts)


def _line(frame: Frame, points: list[tuple[float, float]], colour: str, tool: str) -> str:
    path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
    dots = "".join(
        f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in points
    )
    width, dash = (3 if tool == OURS else 1.5), (' stroke-dasharray="5 4"' if tool == LIMIT else "")
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>{dots}'


def _names(frame: Frame, lines: Lines, colours: dict[str, str]) -> Iterator[str]:
    """The name of every tool beside the end of its line, moved apart where they would overlap."""
    floors: dict[float, float] = {}
    for tool in sorted(lines, key=lambda tool: lines[tool][-1][1]):
        x, y = lines[tool][-1]
        floor = floors[x] = min(floors.get(x, HEIGHT) - 15, frame.y(y) + 4)
        bold = ' font-weight="bold"' if tool == OURS else ""
        style = f'fill="{colours[tool]}" stroke="white" stroke-width="4" paint-order="stroke"{bold}'
        yield f'<text x="{frame.x(x) + 10:.0f}" y="{floor:.0f}" {style}>{tool}</text>'
