"""Plain data cross the border unchanged, and nothing else does."""

import contextlib
import math
import pickle
from collections import Counter, OrderedDict, deque, namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.slot import codec

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.complex_numbers(allow_nan=False),
    st.text(st.characters()), st.binary(),
)  # fmt: skip
hashables = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3))
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(hashables, max_size=4)
        | st.dictionaries(hashables, inner, max_size=4)
    ),
)


def there_and_back(value):
    return codec.decode(codec.unpack(codec.pack(codec.encode(value))))


@given(plain)
def test_plain_data_come_back_equal_and_of_the_same_type(value):
    back = there_and_back(value)
    assert back == value and type(back) is type(value)
    assert repr(back) == repr(value) or isinstance(value, set | frozenset | dict | list | tuple)


@given(st.binary())
def test_arbitrary_bytes_never_raise_anything_but_not_plain(data):
    with contextlib.suppress(codec.NotPlain):
        codec.decode(codec.unpack(data))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda i: st.lists(i) | st.dictionaries(st.sampled_from(["int", "set", "dict", "keys", "x"]), i),
    )
)
def test_arbitrary_messages_never_raise_anything_but_not_plain(message):
    with contextlib.suppress(codec.NotPlain):
        codec.decode(message)


def test_large_and_odd_numbers_are_exact():
    for value in (10**20_000, -(2**63), 0.1, -0.0, math.inf, 5e-324):
        assert there_and_back(value) == value
    assert math.isnan(there_and_back(math.nan)) and math.copysign(1, there_and_back(-0.0)) == -1


def test_subclasses_are_reduced_to_their_base():
    class Liar(int):
        def __eq__(self, other):
            return True

    point = namedtuple("point", "x y")(1, 2)
    for value, reduced in (
        (Liar(3), 3),
        (point, (1, 2)),
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(a=1), {"a": 1}),
    ):
        back = there_and_back(value)
        assert back == reduced and type(back) is type(reduced)
    assert there_and_back(Liar(3)) != 4


def test_numpy_scalars_iterators_views_and_queues_arrive_as_what_they_hold():
    assert there_and_back(np.float64(2.5)) == 2.5 and there_and_back(np.bool_(True)) is True
    assert list(there_and_back(x * x for x in range(3))) == [0, 1, 4]
    assert there_and_back({"a": 1}.keys()) == {"a"} and there_and_back(range(0, 9, 2)) == range(0, 9, 2)
    assert there_and_back(deque([1, 2])) == deque([1, 2])


@pytest.mark.parametrize("value", [object(), lambda: 1, np.ones(2), iter(int, 1), type])
def test_other_values_are_equal_to_nothing(value):
    opaque = there_and_back(value)
    assert isinstance(opaque, codec.Opaque) and opaque != opaque and opaque != opaque.kind
    with pytest.raises(TypeError):
        bool(opaque)


def test_deep_and_self_containing_values_end():
    held = []
    held.append(held)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for value in (held, deep):
        assert there_and_back(value) != value


def test_message_of_any_size_is_bounded():
    with pytest.raises(ValueError, match="more than"):
        codec.pack("x" * codec.MOST_BYTES)


def test_pickles_are_just_bytes():
    assert there_and_back(pickle.dumps(print)) == pickle.dumps(print)
