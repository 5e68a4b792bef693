"""Trees: mapping, flattening, merging, against MLX's results."""

import collections
import importlib

import pytest
from support import NAME, mx

utils = importlib.import_module(NAME.rsplit(".", 1)[0] + ".utils")
tree_flatten, tree_unflatten = utils.tree_flatten, utils.tree_unflatten
tree_map, tree_map_with_path = utils.tree_map, utils.tree_map_with_path
tree_merge, tree_reduce = utils.tree_merge, utils.tree_reduce

Point = collections.namedtuple("Point", "x y")


def is_pair(x):
    return isinstance(x, list) and len(x) == 2 and isinstance(x[0], int)


def add(a, b):
    return a + b


FLAT = [
    ([[[0]]], [("0.0.0", 0)]),
    (1, [("", 1)]),
    (None, [("", None)]),
    ({"a": {}, "b": []}, []),
    ({"a": 1, "b": (2, 3)}, [("a", 1), ("b.0", 2), ("b.1", 3)]),
    ({1: 2}, [("1", 2)]),
]


@pytest.mark.parametrize("tree, expected", FLAT, ids=repr)
def test_flatten(tree, expected):
    assert tree_flatten(tree) == expected
    assert tree_flatten(tree, destination={}) == dict(expected)


def test_flatten_with_prefix_leaves_and_destination():
    assert tree_flatten([1, [2]], prefix=".x") == [("x.0", 1), ("x.1.0", 2)]
    assert tree_flatten([[1, 2], [3]], is_leaf=is_pair) == [("0", [1, 2]), ("1.0", 3)]
    assert tree_flatten({"a": 1}, destination=[("z", 0)]) == [("z", 0), ("a", 1)]


UNFLAT = [
    ([("hello.world", 42)], {"hello": {"world": 42}}),
    ({"hello.world": 42}, {"hello": {"world": 42}}),
    ([("", 3)], 3),
    ([("0", 1), ("2", 3)], [1, {}, 3]),
    ([("1", 1), ("0", 3)], [3, 1]),
    ([("a", 1), ("0", 3)], {"a": 1, "0": 3}),
    ([("a", 1), ("a.b", 2)], {"a": {"": 1, "b": 2}}),
    ([], []),
]


@pytest.mark.parametrize("flat, expected", UNFLAT, ids=repr)
def test_unflatten(flat, expected):
    assert tree_unflatten(flat) == expected


def test_flatten_and_back():
    tree = {"layers": [{"w": mx.ones(2), "b": 1}, {"w": 2}], "name": "x"}
    assert tree_unflatten(tree_flatten(tree)) == tree


def test_map():
    assert tree_map(lambda x: x + 1, {"a": [1, (2, 3)]}) == {"a": [2, (3, 4)]}
    assert tree_map(add, {"a": [1, 2]}, {"a": [3, 4, 5], "b": 6}) == {"a": [4, 6]}
    assert tree_map(sum, [[1, 2], [3, 4]], is_leaf=is_pair) == [3, 7]
    assert tree_map(lambda x, y: (x, y), [1], [{"a": 1}]) == [(1, {"a": 1})]
    mapped = tree_map(lambda x: x * 2, Point(1, 2))
    assert mapped == Point(2, 4) and type(mapped) is Point
    with pytest.raises(IndexError):
        tree_map(add, [1, 2], [3])
    with pytest.raises(KeyError):
        tree_map(add, {"a": 1}, {"b": 2})


def test_map_with_path():
    def at(path, *leaves):
        return (path, *leaves)

    assert tree_map_with_path(at, {"a": [1, (2,)]}) == {"a": [("a.0", 1), (("a.1.0", 2),)]}
    assert tree_map_with_path(at, 1) == (None, 1)
    assert tree_map_with_path(at, [1], [2], path="m") == [("m.0", 1, 2)]
    assert tree_map_with_path(at, [[1, 2]], is_leaf=is_pair) == [("0", [1, 2])]


def test_reduce():
    assert tree_reduce(add, {"a": [1, 2, 3], "b": (4, 5)}, 0) == 15
    assert tree_reduce(add, [1, (2, 3)]) == 6
    assert tree_reduce(add, []) is None
    assert tree_reduce(add, [], 7) == 7
    assert tree_reduce(lambda n, x: n + len(x), [[1, 2], [3, 4]], 0, is_leaf=is_pair) == 4


MERGED = [
    ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
    ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
    ([{"a": 1}], [{"b": 2}, {"c": 3}], [{"a": 1, "b": 2}, {"c": 3}]),
    (({"a": 1},), ({"b": 2}, 3), ({"a": 1, "b": 2}, 3)),
    ({}, 1, 1),
    ([], {"a": 1}, {"a": 1}),
    (None, 1, 1),
    ({"a": None}, {"a": 1}, {"a": 1}),
]


@pytest.mark.parametrize("a, b, expected", MERGED, ids=repr)
def test_merge(a, b, expected):
    assert tree_merge(a, b) == expected


def test_merge_of_leaves():
    assert tree_merge({"a": 1}, {"a": 2}, add) == {"a": 3}
    assert tree_merge((1,), [2], add) == (3,)
    assert tree_merge([1, 2], [3], lambda a, b: (a, b)) == [(1, 3), 2]


@pytest.mark.parametrize(
    "a, b", [({"a": 1}, {"a": 2}), ([1], [2, 3]), ({"a": 1}, [1]), (None, None), ([], ())], ids=repr
)
def test_refused_merges(a, b):
    with pytest.raises(ValueError):
        tree_merge(a, b)
