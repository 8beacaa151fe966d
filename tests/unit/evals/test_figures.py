"""Charts are well-formed, honest about their axes, and hold no element that a name could smuggle in."""

import doctest
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as some

from evals import figures, page
from evals.figures import Interval, Series

HOSTILE = '</text><script>alert("&")</script>\u202e'
NUMBERS = some.integers(-(10**15), 10**15).map(lambda number: number / 1000)


def test_the_examples_in_the_docstrings_hold() -> None:
    for module in (figures, page):
        assert doctest.testmod(module).failed == 0


@given(NUMBERS, NUMBERS)
def test_ticks_enclose_the_values_and_are_few_and_ascending(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    found = figures.ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high))
    assert found[0] <= low + slack and found[-1] >= high - slack
    assert found == sorted(set(found)) and 2 <= len(found) <= 8


@given(some.lists(some.tuples(some.integers(1, 10**9), NUMBERS), max_size=2000).map(sorted))
def test_thinned_points_are_points_of_the_curve_with_both_ends(points: list[tuple[float, float]]) -> None:
    kept = figures.thinned(points)
    assert len(kept) <= figures.POINTS + 1 and kept == sorted(kept)
    assert set(kept) <= set(points) and kept[:1] == points[:1] and kept[-1:] == points[-1:]


def test_every_chart_is_well_formed_whatever_the_names_hold() -> None:
    drawn = [
        figures.curves(HOSTILE, HOSTILE, HOSTILE, [Series(HOSTILE, [(1, 2.0), (2, 1.0)])], (HOSTILE, 1.5)),
        figures.bars(HOSTILE, HOSTILE, [(HOSTILE, 3, HOSTILE)]),
        figures.histogram(HOSTILE, HOSTILE, HOSTILE, [0.0, 0.5, 1.0], [1, 0]),
        figures.intervals(HOSTILE, HOSTILE, [Interval(HOSTILE, 50, 40, 60)], [Interval(HOSTILE, 34.8)]),
        figures.arcs(HOSTILE, [HOSTILE, "b"], [(0, 1), (1, 0)]),
    ]
    for chart in drawn:
        tags = {element.tag for element in ElementTree.fromstring(chart).iter()}
        assert tags <= {"svg", "text", "line", "rect", "path", "circle"} and "\u202e" not in chart


def test_a_bar_is_as_long_as_its_value() -> None:
    chart = ElementTree.fromstring(figures.bars("", "", [("a", 10, ""), ("b", 5, "")]))
    ten, five = (float(bar.attrib["width"]) for bar in chart.iter("rect"))
    assert abs(ten - 2 * five) < 0.2


def test_an_import_that_leads_up_is_drawn_as_another_kind() -> None:
    chart = ElementTree.fromstring(figures.arcs("", ["a", "b"], [(0, 1), (1, 0)]))
    assert [arc.attrib["class"] for arc in chart.iter("path")] == ["arc s0", "arc s1"]


@given(some.lists(NUMBERS, min_size=2, max_size=20))
def test_no_mark_of_an_axis_lies_outside_of_the_drawing(values: list[float]) -> None:
    drawn = ElementTree.fromstring(figures.curves("t", "x", "y", [Series("s", list(enumerate(values)))]))
    lines = [one for one in drawn.iter() if one.tag.endswith("line") and one.get("class") == "grid"]
    heights = [float(one.get("y1", "nan")) for one in lines]
    assert heights and min(heights) >= 55.9 and max(heights) <= 270.1
