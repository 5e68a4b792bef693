"""The bounds in docs/accuracy.md hold at a sample of arguments; its table is that of the code."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from support import IS_RILL

if not IS_RILL:
    pytest.skip("the functions of Rill", allow_module_level=True)
pytest.importorskip("scipy", reason="the reference of some functions")

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import accuracy

ROW = re.compile(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \| .*? \| ([\d.]+) \| ([\d.]+) \|", re.M)
TABLE = {m[1]: tuple(map(float, m.groups()[1:])) for m in ROW.finditer(accuracy.PAGE.read_text())}
FUNCTIONS = {function.name: function for function in accuracy.FUNCTIONS}


def test_the_table_has_every_function_and_its_stated_bounds():
    assert list(TABLE) == list(FUNCTIONS)
    stated = accuracy.stated_bounds()
    for name, (narrow, narrow_error, wide, wide_error) in TABLE.items():
        assert (narrow, wide) == stated[FUNCTIONS[name].vector]
        assert narrow_error <= narrow and wide_error <= wide


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_bounds_hold(name, dtype):
    function = FUNCTIONS[name]
    bound = accuracy.stated_bounds()[function.vector][dtype is np.float64]
    count = 100 if dtype is np.float64 and function.exact else 5000
    error, where = accuracy.worst(function, accuracy.sample(function, dtype, count), dtype)
    assert error <= bound, where
