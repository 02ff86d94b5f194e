"""A server for each test."""

from collections.abc import Iterator

import pytest

from small_server import SmallServer, running_server


@pytest.fixture
def server() -> Iterator[SmallServer]:
    with running_server() as small:
        yield small
