"""Charts as inline SVG, drawn on the server: axes with units, few shapes, no script and no library.

Shapes carry classes (``s0`` … ``s3`` for strokes, ``f0`` … for fills); the page holds the palette, so the
same drawing serves light, dark and paper.  Series differ in dash as well as in colour.  All text is
escaped, whatever it holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from printable import visible

WIDTH = 520
"""Narrow, so that the text is still legible where a phone shrinks the drawing."""
LETTER = 6.6
"""Width of a letter in the units of the drawing, at the page's font size for charts; for placing only."""
POINTS = 500
"""More points than this of one series fall on the same pixels."""


class Series(NamedTuple):
    """A named curve of (x, y) points, x ascending."""

    name: str
    points: Sequence[tuple[float, float]]


class Interval(NamedTuple):
    """A measured value with its interval, or a published one without."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


class Frame(NamedTuple):
    """Where a chart's data lies in the drawing, and the values at its edges."""

    left: float
    right: float
    top: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, x: float) -> float:
        low, high = self.x
        return self.left + (x - low) / (high - low) * (self.right - self.left)

    def up(self, y: float) -> float:
        low, high = self.y
        return self.bottom - (y - low) / (high - low) * (self.bottom - self.top)


def curves(
    title: str, x_label: str, y_label: str, series: Sequence[Series], level: tuple[str, float] | None = None
) -> Markup:
    """Curves over one x axis, with a horizontal line at ``level`` if there is something to compare with."""
    series = [Series(one.name, thinned(one.points)) for one in series if one.points]
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points] + ([level[1]] if level else [])
    if not xs:
        return Markup("")
    marks = ticks(min(ys), max(ys))
    marks = ticks(marks[0], marks[-1])  # again, so that the marks drawn for these edges end at them
    x_range = (min(xs), max(max(xs), min(xs) + 1))
    frame = Frame(56, WIDTH - 26, 56, 270, x_range, (marks[0], marks[-1]))
    drawn = list(_axes(frame, x_label, y_label, 308))
    if level:
        height = frame.up(level[1])
        drawn.append(_line(frame.left, height, frame.right, height, "level"))
        drawn.append(_text(frame.left + 8, height - 6, f"{level[0]} {level[1]:.3f}"))
    for number, (_, points) in enumerate(series):
        path = "M" + "L".join(f"{frame.across(x):.1f} {frame.up(y):.1f}" for x, y in points)
        drawn.append(tag("path", class_=f"curve s{number}", d=path))
        if len(points) < 40:
            drawn += [_dot(frame.across(x), frame.up(y), f"f{number}") for x, y in points]
    named = [one.name for one in series] if len(series) > 1 else []
    return _svg(title, 318, [*drawn, *_legend(named, 34)])


def bars(title: str, x_label: str, rows: Sequence[tuple[str, float, str]]) -> Markup:
    """Horizontal bars from zero; a row is its name, its value, and the value as it is to be printed."""
    left = min(200.0, 12 + LETTER * max((len(name) for name, _, _ in rows), default=0))
    room = LETTER * max((len(text) for _, _, text in rows), default=0) + 14
    edge = max((value for _, value, _ in rows), default=0) or 1.0
    bottom = 34.0 + 30 * len(rows)
    frame = Frame(left, WIDTH - room, 34, bottom, (0, edge), (0, 1))
    drawn = []
    for number, (name, value, text) in enumerate(rows):
        middle = frame.top + 30 * number + 15
        end = frame.across(value)
        drawn.append(_text(left - 8, middle + 4, name, "end"))
        drawn.append(
            tag("rect", class_="f0", x=left, y=middle - 9, width=f"{max(1.0, end - left):.1f}", height=18)
        )
        drawn.append(_text(end + 6, middle + 4, text))
    drawn.append(_line(left, frame.top, left, bottom, "axis"))
    drawn.append(_text(left, bottom + 18, x_label, class_="label"))
    return _svg(title, bottom + 28, drawn)


def histogram(
    title: str, x_label: str, y_label: str, edges: Sequence[float], counts: Sequence[int]
) -> Markup:
    """Columns between neighbouring ``edges``, each with its count above it."""
    highest = ticks(0, max(5, *counts))[-1]  # no half rows on the axis
    frame = Frame(56, WIDTH - 12, 56, 226, (edges[0], edges[-1]), (0, highest))
    drawn = list(_axes(frame, x_label, y_label, 264))
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        left, right, top = frame.across(low), frame.across(high), frame.up(count)
        box = {"x": f"{left + 1:.1f}", "y": f"{top:.1f}", "width": f"{right - left - 2:.1f}"}
        drawn.append(tag("rect", class_="f0", height=f"{frame.bottom - top:.1f}", **box))
        if count:
            drawn.append(_text((left + right) / 2, top - 4, f"{count:,}", "middle"))
    return _svg(title, 274, drawn)


def intervals(title: str, x_label: str, ours: Sequence[Interval], others: Sequence[Interval]) -> Markup:
    """Values in percent as dots, with whiskers where there is an interval; ``others`` are drawn hollow."""
    rows = [*ours, *others]
    left = min(230.0, 20 + LETTER * max((len(row.name) for row in rows), default=0))
    bottom = 34.0 + 28 * len(rows)
    frame = Frame(left, WIDTH - 60, 34, bottom, (0, 100), (0, 1))
    drawn = []
    for x in range(0, 101, 25):
        drawn.append(_line(frame.across(x), frame.top, frame.across(x), bottom, "grid"))
        drawn.append(_text(frame.across(x), bottom + 18, str(x), "middle"))
    for number, row in enumerate(rows):
        middle = frame.top + 28 * number + 14
        drawn.append(_text(left - 10, middle + 4, row.name, "end"))
        if row.low is not None and row.high is not None:
            drawn.append(_line(frame.across(row.low), middle, frame.across(row.high), middle, "whisker"))
        kind = "f1" if number < len(ours) else "hollow"
        drawn.append(_dot(frame.across(row.value), middle, kind, 5))
        end = frame.across(row.high if row.high is not None else row.value)
        drawn.append(_text(end + 10, middle + 4, f"{row.value:.1f}"))
    drawn.append(_text((frame.left + frame.right) / 2, bottom + 38, x_label, "middle", "label"))
    return _svg(title, bottom + 46, drawn)


def arcs(title: str, names: Sequence[str], edges: Iterable[tuple[int, int]]) -> Markup:
    """Names from top to bottom, and an arc from each imported name (first) to its importer (second).

    An arc that leads down, as all should, is drawn at the right; one that leads up, as in a cycle, at the
    left of the others in another colour and dashed.
    """
    row = 22.0
    left = min(310.0, 44 + LETTER * max((len(name) for name in names), default=0))
    drawn = []
    for number, name in enumerate(names):
        middle = 40 + row * number
        drawn.append(_text(20, middle + 4, str(number + 1), "end", "number"))
        drawn.append(_text(28, middle + 4, clipped(name, 41), class_="mono"))
        drawn.append(_dot(left, middle, "f0", 3.5))
    for imported, importer in edges:
        start, end = 40 + row * imported, 40 + row * importer
        reach = min(WIDTH - left - 12, 14 + abs(end - start) * 0.62)
        kind = "arc s0" if imported < importer else "arc s1"
        out = f"{left + reach:.0f}"
        bow = f"M{left} {start:.0f}C{out} {start:.0f} {out} {end:.0f} {left} {end:.0f}"
        drawn.append(tag("path", class_=kind, d=bow))
    return _svg(title, 40 + row * len(names), drawn)


def share(value: float, kind: str = "f0") -> Markup:
    """A bar for a table's cell: a share from 0 to 1."""
    filled = tag("rect", class_=kind, width=f"{100 * min(1.0, max(0.0, value)):.2f}", height=8)
    return tag(
        "svg", filled, class_="share", viewBox="0 0 100 8", preserveAspectRatio="none", aria_hidden="true"
    )


# ----------------------------------------------------------------------------------------- helpers


def tag(name: str, /, *inside: str, **attributes: object) -> Markup:
    """One element; ``class_`` is the attribute class, ``text_anchor`` is text-anchor; all is escaped."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{''.join(escape(one) for one in inside)}</{name}>")  # noqa: S704 (escaped)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``.

    >>> ticks(0, 9.2)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    largest = max(abs(low), abs(high))
    span = high - low if high - low > 1e-6 * largest else largest or 1.0
    rough = max(span, 1e-99) / (most - 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, max(last, first + 1) + 1)]


def thinned(points: Sequence[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """At most about ``most`` points, evenly taken, with the last one."""
    stride = math.ceil(len(points) / most)
    kept = list(points[:: max(1, stride)])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def compact(value: float) -> str:
    """A number as an axis prints it.

    >>> compact(2_500_000), compact(0.85), compact(1200)
    ('2.5 M', '0.85', '1,200')
    """
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= factor:
            unit = 1e3 if letter == "k" else factor
            return f"{value / unit:.4g} {letter}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def clipped(text: str, most: int) -> str:
    """The end of a long path tells more than its beginning."""
    return text if len(text) <= most else "…" + text[1 - most :]


def _axes(frame: Frame, x_label: str, y_label: str, height: float) -> Iterable[Markup]:
    for y in (y for y in ticks(*frame.y) if frame.y[0] <= y <= frame.y[1]):
        yield _line(frame.left, frame.up(y), frame.right, frame.up(y), "grid")
        yield _text(frame.left - 8, frame.up(y) + 4, compact(y), "end")
    for x in ticks(*frame.x):
        if frame.x[0] <= x <= frame.x[1]:
            yield _text(frame.across(x), frame.bottom + 18, compact(x), "middle")
            yield _line(frame.across(x), frame.bottom, frame.across(x), frame.bottom + 4, "axis")
    yield _line(frame.left, frame.bottom, frame.right, frame.bottom, "axis")
    yield _text((frame.left + frame.right) / 2, height, x_label, "middle", "label")
    yield _text(4, frame.top - 16, y_label, class_="label")


def _legend(names: Sequence[str], y: float) -> Iterable[Markup]:
    x = WIDTH - 16.0
    for number in reversed(range(len(names))):
        x -= LETTER * len(names[number])
        yield _text(x, y + 4, names[number])
        yield _line(x - 30, y, x - 6, y, f"curve s{number}")
        x -= 46


def _svg(title: str, height: float, drawn: Iterable[Markup]) -> Markup:
    heading = tag("text", visible(title), x=4, y=15, class_="title")
    return tag(
        "svg",
        heading,
        *drawn,
        viewBox=f"0 0 {WIDTH} {height:.0f}",
        role="img",
        aria_label=visible(title),
        class_="chart",
    )


def _text(x: float, y: float, text: str, anchor: str = "start", class_: str = "tick") -> Markup:
    return tag("text", visible(text), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=class_)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return tag("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=class_)


def _dot(x: float, y: float, class_: str, radius: float = 3) -> Markup:
    return tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=radius, class_=class_)
