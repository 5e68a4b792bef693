"""Trees: lists, tuples and dicts of anything, nested.

A path names a leaf by its keys and indices joined by dots: "layers.0.weight".
"""

from collections.abc import Callable
from typing import Any

__all__ = [
    "tree_flatten",
    "tree_map",
    "tree_map_with_path",
    "tree_merge",
    "tree_reduce",
    "tree_unflatten",
]


def _children(tree: Any, is_leaf: Callable | None = None) -> list[tuple[Any, Any]] | None:
    """The (key, child) pairs of a tree; None for a leaf."""
    if is_leaf is not None and is_leaf(tree):
        return None
    if isinstance(tree, dict):
        return list(tree.items())
    if isinstance(tree, (list, tuple)):
        return list(enumerate(tree))
    return None


def _like(tree: Any, children: list[tuple[Any, Any]]) -> Any:
    """The children in a container of the kind of `tree`."""
    if isinstance(tree, dict):
        return dict(children)
    values = [child for _, child in children]
    if isinstance(tree, list):
        return values
    return type(tree)(*values) if hasattr(tree, "_fields") else tuple(values)


def tree_map(fn: Callable, tree: Any, *rest: Any, is_leaf: Callable | None = None) -> Any:
    """A tree like `tree` with fn(leaf, *others) for each leaf.

    The trees in `rest` have at least the structure of `tree`; what stands in them at the place of
    a leaf are its others. Where `is_leaf` says so, a container is a leaf.

    >>> tree_map(lambda x, y: x + y, {"a": [1, 2]}, {"a": [3, 4], "b": 5})
    {'a': [4, 6]}
    """
    children = _children(tree, is_leaf)
    if children is None:
        return fn(tree, *rest)
    return _like(
        tree,
        [
            (key, tree_map(fn, child, *(other[key] for other in rest), is_leaf=is_leaf))
            for key, child in children
        ],
    )


def tree_map_with_path(
    fn: Callable,
    tree: Any,
    *rest: Any,
    is_leaf: Callable | None = None,
    path: Any | None = None,
) -> Any:
    """As tree_map, with fn(path, leaf, *others). `path` goes before the paths.

    >>> tree_map_with_path(lambda path, x: path, {"a": [1, 2]})
    {'a': ['a.0', 'a.1']}
    """
    children = _children(tree, is_leaf)
    if children is None:
        return fn(path, tree, *rest)
    prefix = f"{path}." if path else ""
    return _like(
        tree,
        [
            (
                key,
                tree_map_with_path(
                    fn,
                    child,
                    *(other[key] for other in rest),
                    is_leaf=is_leaf,
                    path=f"{prefix}{key}",
                ),
            )
            for key, child in children
        ],
    )


def tree_flatten(
    tree: Any,
    prefix: str = "",
    is_leaf: Callable | None = None,
    destination: list[tuple[str, Any]] | dict[str, Any] | None = None,
) -> list[tuple[str, Any]] | dict[str, Any]:
    """The (path, leaf) pairs of a tree, added to `destination`: a list (new by default) or a dict.

    Of `prefix`, which goes before the paths, the first character is dropped.

    >>> tree_flatten({"a": [1, {"b": 2}]})
    [('a.0', 1), ('a.1.b', 2)]
    """
    if destination is None:
        destination = []
    children = _children(tree, is_leaf)
    if children is not None:
        for key, child in children:
            tree_flatten(child, f"{prefix}.{key}", is_leaf, destination)
    elif isinstance(destination, dict):
        destination[prefix[1:]] = tree
    else:
        destination.append((prefix[1:], tree))
    return destination


def tree_unflatten(tree: list[tuple[str, Any]] | dict[str, Any]) -> Any:
    """The tree of (path, leaf) pairs: of lists where all keys are numbers, else of dicts.

    Places of a list that no path names hold an empty dict.

    >>> tree_unflatten([("a.0", 1), ("a.1.b", 2)])
    {'a': [1, {'b': 2}]}
    """
    pairs = list(tree.items() if isinstance(tree, dict) else tree)
    if len(pairs) == 1 and pairs[0][0] == "":
        return pairs[0][1]
    groups: dict[str, list[tuple[str, Any]]] = {}
    for path, leaf in pairs:
        key, _, remainder = path.partition(".")
        groups.setdefault(key, []).append((remainder, leaf))
    children = {key: tree_unflatten(group) for key, group in groups.items()}
    if not all(key.isdecimal() for key in children):
        return children
    indexed = {int(key): child for key, child in children.items()}
    return [indexed.get(i, {}) for i in range(max(indexed, default=-1) + 1)]


def tree_reduce(
    fn: Callable, tree: Any, initializer: Any = None, is_leaf: Callable | None = None
) -> Any:
    """fn(...fn(fn(initializer, leaf), leaf)..., leaf); without initializer, from the first leaf.

    >>> tree_reduce(lambda total, x: total + x, {"a": [1, 2], "b": 3}, 0)
    6
    """
    children = _children(tree, is_leaf)
    if children is None:
        return tree if initializer is None else fn(initializer, tree)
    for _, child in children:
        initializer = tree_reduce(fn, child, initializer, is_leaf)
    return initializer


def _is_empty(tree: Any) -> bool:
    return tree is None or (isinstance(tree, (dict, list, tuple)) and not tree)


def tree_merge(tree_a: Any, tree_b: Any, merge_fn: Callable | None = None) -> Any:
    """A tree with the leaves of both; merge_fn(a, b) where both have one.

    None and empty containers give way to what the other tree has.

    >>> tree_merge({"a": 1, "b": {"c": 2}}, {"b": {"d": 3}})
    {'a': 1, 'b': {'c': 2, 'd': 3}}
    """
    if _is_empty(tree_a) != _is_empty(tree_b):
        return tree_b if _is_empty(tree_a) else tree_a
    if _is_empty(tree_a) and tree_a is not None and tree_b is not None:
        if type(tree_a) is not type(tree_b):
            names = type(tree_a).__name__, type(tree_b).__name__
            raise ValueError("cannot merge an empty {} with an empty {}".format(*names))
        return tree_a
    if isinstance(tree_a, dict) and isinstance(tree_b, dict):
        keys = list(tree_a) + [key for key in tree_b if key not in tree_a]
        return {key: tree_merge(tree_a.get(key), tree_b.get(key), merge_fn) for key in keys}
    if isinstance(tree_a, (list, tuple)) and isinstance(tree_b, (list, tuple)):
        shared = min(len(tree_a), len(tree_b))
        merged = [tree_merge(a, b, merge_fn) for a, b in zip(tree_a, tree_b)]
        merged += list(tree_a[shared:]) + list(tree_b[shared:])
        return _like(tree_a, list(enumerate(merged)))
    if merge_fn is None:
        raise ValueError("both trees have a leaf at one place, and there is no merge_fn")
    return merge_fn(tree_a, tree_b)
