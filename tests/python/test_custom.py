"""custom_function and checkpoint: rules of the user's in every nesting of transformations."""

import gc
import threading

import numpy as np
import pytest
from support import assert_near, mx, rill_only, to_numpy

X, Y = 0.7, 1.3


def scalar(x):
    return mx.array(x)


@mx.custom_function
def straight(x):
    """Rounds; its derivative is that of x squared."""
    return mx.round(x)


@straight.vjp
def straight_vjp(primals, cotangent, output):
    return cotangent * 2 * primals


@straight.jvp
def straight_jvp(primals, tangent):
    return tangent * 2 * primals


@mx.custom_function
def product(x, y):
    return mx.sin(x) * y


@product.vjp
def product_vjp(primals, cotangent, output):
    return cotangent * 3, cotangent * 5


def test_call_is_the_function():
    assert_near(product(scalar(X), scalar(Y)), np.sin(np.float32(X)) * Y)


def test_vjp_rule_replaces_the_derivative():
    gradients = mx.grad(product, argnums=(0, 1))(scalar(X), scalar(Y))
    assert [g.item() for g in gradients] == [3, 5]


def test_second_derivative_is_that_of_the_rule():
    assert mx.grad(mx.grad(straight))(scalar(X)).item() == 2
    assert mx.grad(mx.grad(product))(scalar(X), scalar(Y)).item() == 0


def test_jvp_rule_and_its_default():
    (out,), (tangent,) = mx.jvp(straight, [scalar(X)], [scalar(1.0)])
    assert out.item() == 1 and tangent.item() == pytest.approx(2 * X)
    (_,), (tangent,) = mx.jvp(product, [scalar(X), scalar(Y)], [scalar(1.0), scalar(0.0)])
    assert tangent.item() == pytest.approx(np.cos(X) * Y, rel=1e-5)


def test_forward_over_reverse_and_reverse_over_forward():
    def forward(x):
        return mx.jvp(straight, [x], [mx.ones_like(x)])[1][0]

    assert mx.grad(forward)(scalar(X)).item() == 2
    _, (tangent,) = mx.jvp(mx.grad(straight), [scalar(X)], [scalar(1.0)])
    assert tangent.item() == 2


def test_jvp_only_leaves_the_default_reverse_derivative():
    @mx.custom_function
    def f(x):
        return mx.sin(x) * x

    f.jvp(lambda x, t: t * 7)
    expected = np.cos(X) * X + np.sin(X)
    assert mx.grad(f)(scalar(X)).item() == pytest.approx(expected, rel=1e-5)
    assert mx.jvp(f, [scalar(X)], [scalar(1.0)])[1][0].item() == 7
    second = 2 * np.cos(X) - np.sin(X) * X
    assert mx.grad(mx.grad(f))(scalar(X)).item() == pytest.approx(second, rel=1e-5)


def test_tangent_of_what_does_not_vary_is_none():
    seen = []

    @mx.custom_function
    def f(x, y):
        return x * y

    @f.jvp
    def rule(primals, tangents):
        seen.append(tangents[1])
        return tangents[0]

    mx.jvp(lambda x: f(x, scalar(Y)), [scalar(X)], [scalar(1.0)])
    assert seen == [None]


def test_trees_keywords_and_constants():
    @mx.custom_function
    def f(tree, count, *, scale, name="n"):
        return {"sum": tree["a"] * count * scale, "rest": [tree["b"], 3]}

    @f.vjp
    def rule(primals, cotangents, outputs, scale, name="n"):
        _, count = primals
        assert count == 2 and outputs["rest"][1] == 3 and name == "m"
        grad = {"a": cotangents["sum"] * scale * 10, "b": None}
        return grad, None

    def loss(tree, scale):
        out = f(tree, 2, scale=scale, name="m")
        return out["sum"] + out["rest"][0]

    tree = {"a": scalar(X), "b": scalar(Y)}
    grads, by_scale = mx.grad(loss, argnums=(0, 1))(tree, scalar(4.0))
    assert grads["a"].item() == 40 and grads["b"].item() == 0
    assert by_scale.item() == 0  # a keyword argument is constant to the rule


def test_what_a_function_closes_over_is_constant():
    def outer(x, y):
        @mx.custom_function
        def f(x):
            return x * y

        @f.vjp
        def rule(x, dx, fx):
            raise ZeroDivisionError("called")

        return f(x)

    with pytest.raises(ZeroDivisionError, match="called"):
        mx.grad(outer)(scalar(X), scalar(Y))
    assert mx.grad(outer, argnums=1)(scalar(X), scalar(Y)).item() == 0


@rill_only
@pytest.mark.parametrize(
    "result, message",
    [
        (lambda c: (c, c), "in the result of a vjp rule"),
        (lambda c: mx.ones((3,)), "expected a cotangent of shape"),
        (lambda c: "text", "expected an array"),
        (lambda c: {}, "expected an array"),
    ],
)
def test_wrong_results_of_a_rule(result, message):
    @mx.custom_function
    def f(x):
        return x * x

    f.vjp(lambda primals, cotangent, output: result(cotangent))
    with pytest.raises(ValueError, match=message):
        mx.grad(f)(scalar(X))


def test_several_outputs_and_an_unused_one():
    @mx.custom_function
    def f(x, y):
        return x * y, x + y

    f.vjp(lambda primals, cotangents, outputs: (cotangents[0] * 2, cotangents[1] * 2))
    a, b = mx.grad(lambda x, y: f(x, y)[0], argnums=(0, 1))(scalar(X), scalar(Y))
    assert a.item() == 2 and b.item() == 0


def test_dtype_of_the_gradient_is_that_of_the_argument():
    @mx.custom_function
    def f(x):
        return x.astype(mx.float32).sum()

    f.vjp(lambda x, c, o: mx.ones(x.shape, dtype=mx.float32) * c)
    g = mx.grad(f)(mx.ones((3,), dtype=mx.float16))
    assert g.dtype == mx.float16 and g.tolist() == [1, 1, 1]


def test_exceptions_pass_through():
    @mx.custom_function
    def f(x):
        return x

    @f.vjp
    def rule(*args):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        mx.grad(f)(scalar(X))


@pytest.mark.parametrize("around", [list, tuple, lambda one: one[0]], ids=["list", "tuple", "bare"])
def test_rules_of_one_array_may_wrap_it(around):
    f = mx.custom_function(lambda x: x * x)
    f.vjp(lambda primal, cotangent, output: around([cotangent * 9]))
    f.jvp(lambda primal, tangent: around([tangent * 7]))
    f.vmap(lambda input, axis: (around([input * 5]), around([axis])))
    assert mx.grad(f)(scalar(2.0)).item() == 9
    assert mx.jvp(f, [scalar(2.0)], [scalar(1.0)])[1][0].item() == 7
    assert mx.vmap(f)(mx.array([1.0, 2.0])).tolist() == [5, 10]


@pytest.mark.parametrize("wrong", [3, None, "f"])
def test_only_callables(wrong):
    with pytest.raises(TypeError):
        mx.custom_function(wrong)
    with pytest.raises(TypeError):
        mx.checkpoint(wrong)


def test_decorators_return_the_function():
    f = mx.custom_function(lambda x: x)
    assert f.vjp(lambda *a: a[1]) is f
    assert f.jvp(lambda *a: a[1]) is f
    assert f.vmap(lambda *a: a) is f


def layers(x, w):
    for _ in range(4):
        x = mx.tanh(x @ w)
    return x


def test_checkpoint_has_the_same_gradient():
    x = mx.random.normal((5, 5), key=mx.random.key(1))
    w = mx.random.normal((5, 5), key=mx.random.key(2))

    def loss(f):
        return lambda x, w: mx.square(f(x, w)).sum()

    plain = mx.grad(loss(layers), argnums=(0, 1))(x, w)
    again = mx.grad(loss(mx.checkpoint(layers)), argnums=(0, 1))(x, w)
    for a, b in zip(plain, again):
        assert_near(b, to_numpy(a))
    second = mx.grad(lambda x: mx.grad(loss(mx.checkpoint(layers)))(x, w).sum())(x)
    expected = mx.grad(lambda x: mx.grad(loss(layers))(x, w).sum())(x)
    assert_near(second, to_numpy(expected), tolerance=1e-4)
    _, (tangent,) = mx.jvp(mx.checkpoint(layers), [x, w], [x, w])
    assert_near(tangent, to_numpy(mx.jvp(layers, [x, w], [x, w])[1][0]))


def test_checkpoint_calls_the_function_again_in_the_backward_pass():
    calls = []

    def f(tree, *, scale):
        calls.append(1)
        return [tree["a"] * scale]

    g = mx.grad(lambda x, s: mx.checkpoint(f)({"a": x}, scale=s)[0], argnums=(0, 1))
    a, b = g(scalar(X), scalar(Y))
    assert len(calls) == 2
    assert a.item() == pytest.approx(Y) and b.item() == pytest.approx(X)
    mx.eval(mx.checkpoint(f)({"a": scalar(X)}, scale=scalar(Y)))
    assert len(calls) == 3


@rill_only
def test_checkpoint_keeps_no_inner_values():
    """The peak of twelve blocks of eight large layers, with and without."""
    x = mx.ones((256, 1024)) * 0.5
    mx.eval(x)

    def block(x):
        for _ in range(8):
            x = mx.sin(mx.contiguous(mx.exp(x) - 1))
            x = x - mx.sum(x, axis=0, keepdims=True) / 256
        return x

    def peak(f):
        def loss(x):
            for _ in range(12):
                x = f(x)
            return x.sum()

        mx.clear_cache()
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        mx.eval(mx.grad(loss)(x))
        return mx.get_peak_memory() - before

    assert peak(mx.checkpoint(block)) < 0.45 * peak(block)


def test_streams():
    stream = mx.new_stream(mx.cpu)

    @mx.custom_function
    def f(x):
        return mx.exp(x, stream=stream)

    f.vjp(lambda x, c, o: mx.multiply(c, o, stream=stream) * 2)
    expected = 2 * np.exp(X)
    assert mx.grad(f)(scalar(X)).item() == pytest.approx(expected, rel=1e-5)


@rill_only
def test_gradients_from_many_threads():
    results = []

    def work():
        for _ in range(50):
            results.append(mx.grad(straight)(scalar(X)).item())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [pytest.approx(2 * X)] * 200


@rill_only
def test_cycles_are_collected():
    import weakref

    class Marker:
        pass

    def make():
        marker = Marker()
        f = mx.custom_function(lambda x: (marker, x)[1])
        f.vjp(lambda *args: f)
        g = mx.checkpoint(lambda x: g)
        mx.grad(mx.custom_function(lambda x: (marker, x)[1]))(scalar(X))
        return weakref.ref(marker)

    marker = make()
    gc.collect()
    assert marker() is None


def test_vmap_rule_replaces_the_vectorisation():
    seen = []

    @mx.custom_function
    def f(x, y):
        return x * y

    @f.vmap
    def rule(inputs, axes):
        seen.append(axes)
        return inputs[0] * inputs[1] + 100, 0

    x, y = mx.arange(3, dtype=mx.float32), mx.array(2.0)
    assert mx.vmap(f, in_axes=(0, None))(x, y).tolist() == [100, 102, 104]
    assert mx.vmap(f)(x, x).tolist() == [100, 101, 104]
    assert seen == [(0, None), (0, 0)]
    assert mx.vmap(lambda x: f(x, y))(x).tolist() == [100, 102, 104]


@rill_only
@pytest.mark.parametrize("axis", [1, -1, None])
def test_axes_that_a_vmap_rule_returns(axis):
    f = mx.custom_function(lambda x: mx.stack([x, x]))
    f.vmap(lambda x, axis_in: (mx.ones((2,)) if axis is None else mx.stack([x, 2 * x]), axis))
    result = mx.vmap(f)(mx.arange(3, dtype=mx.float32))
    assert result.tolist() == ([[1, 1]] * 3 if axis is None else [[0, 0], [1, 2], [2, 4]])


@rill_only
@pytest.mark.parametrize("result", [lambda x: x, lambda x: (x,), lambda x: (x[:1], 0)])
def test_wrong_results_of_a_vmap_rule(result):
    f = mx.custom_function(lambda x: x * 2)
    f.vmap(lambda x, axis: result(x))
    with pytest.raises(ValueError, match="custom_function"):
        mx.vmap(f)(mx.arange(3, dtype=mx.float32))


@rill_only
def test_rules_go_through_vmap():
    """Reverse and forward rules of a function without a vmap rule, batched."""
    x, y = mx.array([0.5, 1.5, 2.5]), mx.array(3.0)
    for transformed in (
        mx.vmap(mx.grad(product, argnums=(0, 1)), in_axes=(0, None)),
        mx.vmap(mx.grad(lambda x, y: product(x, y), argnums=(0, 1)), in_axes=(0, None)),
    ):
        dx, dy = transformed(x, y)
        assert dx.tolist() == [3, 3, 3] and dy.tolist() == [5, 5, 5]
    dx, dy = mx.grad(lambda x, y: mx.vmap(product, in_axes=(0, None))(x, y).sum(), argnums=(0, 1))(
        x, y
    )
    assert dx.tolist() == [3, 3, 3] and dy.item() == 15
    _, (t,) = mx.jvp(mx.vmap(straight), [x], [mx.ones(3)])
    np.testing.assert_allclose(t.tolist(), 2 * np.array(x.tolist()))
    again = mx.vmap(mx.vmap(mx.grad(straight)))(mx.stack([x, x]))
    np.testing.assert_allclose(again.tolist(), [[1, 3, 5]] * 2)


@rill_only
def test_rules_go_through_compile():
    x = mx.array([0.5, 1.5])
    f = mx.compile(mx.vmap(mx.grad(straight)))
    for _ in range(3):
        assert f(x).tolist() == [1, 3]
    assert mx.grad(mx.compile(lambda x: straight(x).sum()))(x).tolist() == [1, 3]
    g = mx.compile(mx.grad(lambda x: mx.checkpoint(mx.sin)(x).sum()))
    np.testing.assert_allclose(g(x).tolist(), np.cos([0.5, 1.5]), rtol=1e-5)
    h = mx.vmap(mx.grad(mx.checkpoint(mx.sin)))
    np.testing.assert_allclose(h(x).tolist(), np.cos([0.5, 1.5]), rtol=1e-5)
