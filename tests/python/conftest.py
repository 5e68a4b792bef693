"""Options and marks of the suite.

pytest tests/python              # everything quick
pytest tests/python --full       # the stress tests at their full counts, and those of many GB
"""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "rill",
    deadline=None,
    max_examples=60,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("rill")


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="full counts, and tests of many GB")


def pytest_configure(config):
    config.addinivalue_line("markers", "big: needs several GB of memory; runs with --full")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--full"):
        return
    for item in items:
        if "big" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs --full"))


@pytest.fixture
def full(request):
    """Whether the stress tests shall run at their full counts."""
    return request.config.getoption("--full")


@pytest.fixture(autouse=True)
def default_stream():
    """Gives each test the default device and stream back as it found them."""
    from support import mx

    device = mx.default_device()
    stream = mx.default_stream(device)
    yield
    mx.set_default_device(device)
    mx.set_default_stream(stream)
