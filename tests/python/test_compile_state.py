"""mx.compile with inputs and outputs: state that a function reads and replaces."""

from collections import namedtuple
from functools import partial

import pytest
from support import assert_same, mx, rill_only, to_numpy

Pair = namedtuple("Pair", "first second")


def test_state_is_read_and_written():
    state = {"total": mx.array(0.0), "parts": [mx.array(1.0), "text", 3]}

    @partial(mx.compile, inputs=state, outputs=state)
    def step(x):
        state["total"] = state["total"] + x * state["parts"][0]
        state["parts"][0] = state["parts"][0] * 2
        return state["total"]

    parts = state["parts"]
    for i, expected in enumerate((1.0, 3.0, 7.0)):
        assert step(mx.array(1.0)).item() == expected
        assert state["total"].item() == expected
        assert state["parts"] is parts and parts[0].item() == 2.0 ** (i + 1)
    assert parts[1:] == ["text", 3]
    state["total"] = mx.array([10.0, 20.0])
    assert_same(step(mx.array(1.0)), [18.0, 28.0])


def test_state_that_grows():
    state = {"a": mx.array(1.0)}

    @partial(mx.compile, inputs=state, outputs=state)
    def step(x):
        if "b" not in state:
            state["b"] = mx.zeros_like(x)
        state["b"] = state["b"] + x
        state["a"] = state["a"] * 2
        return state["b"]

    for i in range(4):
        assert step(mx.array(1.0)).item() == i + 1.0
        assert (state["a"].item(), state["b"].item()) == (2.0 ** (i + 1), i + 1.0)


def test_outputs_alone():
    state = {}
    g = mx.compile(lambda x: (state.update(last=x * 3), x)[1], outputs=state)
    for value in (1.0, 2.0, 3.0):
        g(mx.array(value))
        assert state["last"].item() == 3 * value
        state.clear()


def test_tuples_in_state():
    state = [(mx.array(1.0), mx.array(2.0))]

    @partial(mx.compile, inputs=state, outputs=state)
    def swap():
        state[0] = (state[0][1], state[0][0] + 1)

    for expected in ((2.0, 2.0), (2.0, 3.0), (3.0, 3.0)):
        swap()
        assert tuple(a.item() for a in state[0]) == expected


def test_containers_that_are_replaced_and_keys_that_go():
    state = {"sub": {"a": mx.array(1.0)}, "once": mx.array(5.0), "list": [mx.array(1.0)]}

    @partial(mx.compile, inputs=state, outputs=state)
    def step(x):
        once = state.pop("once", None)
        state["sub"] = {"a": state["sub"]["a"] + x, "b": x * 2}
        state["list"] = [*state["list"][:1], x]
        return x if once is None else x + once

    for i, expected in enumerate((6.0, 1.0, 1.0)):
        assert step(mx.array(1.0)).item() == expected
        assert sorted(state) == ["list", "sub"]
        assert [a.item() for a in state["sub"].values()] == [i + 2.0, 2.0]
        assert [a.item() for a in state["list"]] == [1.0, 1.0]


@rill_only
def test_state_that_would_be_lost_is_refused():
    state = {"a": mx.array(1.0)}

    def f(x):
        state["a"] = state["a"] + x
        return x

    g = mx.compile(f, inputs=state)
    with pytest.raises(ValueError, match="outputs"):
        g(mx.array(1.0))
    assert state["a"].item() == 1.0


@rill_only
def test_an_error_leaves_the_state_alone():
    state = {"a": mx.array(1.0), "b": [mx.array(2.0)]}
    mx.random.seed(5)
    key = to_numpy(mx.random.state[0])

    def f(x):
        state["a"] = state["a"] + x
        state["b"] = [x, x]
        state.pop("a")
        mx.random.uniform()
        raise ValueError("mine")

    where = [state, mx.random.state]
    with pytest.raises(ValueError, match="mine"):
        mx.compile(f, inputs=where, outputs=where)(mx.array(1.0))
    assert (state["a"].item(), state["b"][0].item()) == (1.0, 2.0)
    assert_same(mx.random.state[0], key)


def test_random_state():
    draw = partial(mx.random.uniform, shape=(3,))
    mx.random.seed(7)
    expected = [to_numpy(draw() + draw()) for _ in range(3)]
    mx.random.seed(7)
    g = mx.compile(lambda: draw() + draw(), inputs=mx.random.state, outputs=[mx.random.state])
    for values in expected:
        assert_same(g(), values)
    assert len(mx.random.state) == 1 and len(list(mx.random.state)) == 1
    # Draws from a key that is an argument.
    h = mx.compile(lambda key: mx.random.normal((4,), key=key))
    for seed in (1, 2):
        assert_same(
            h(mx.random.key(seed)), to_numpy(mx.random.normal((4,), key=mx.random.key(seed)))
        )
