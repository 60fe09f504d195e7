"""One town for all journeys and faults of this folder, started when the first test asks."""

import os
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from local_stack.places import CACHE

sys.path.append(str(Path(__file__).parent))  # the tests are no package, and share town.py
from town import Town


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of the town run on one worker, in the order of their files."""
    for item in items:
        if "town" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("town"))


@pytest.fixture(scope="session")
async def town() -> AsyncIterator[Town]:
    """Started once; every test uses claims of its own.

    KEEP_TOWN=1 leaves it running and finds it again, for work on one test: its start is what
    takes time.
    """
    is_kept = bool(os.environ.get("KEEP_TOWN"))
    town = Town.on(CACHE / "test-town" / ("kept" if is_kept else uuid.uuid4().hex[:8]))
    try:
        await town.start()
        yield town
    finally:
        await town.end(is_kept=is_kept)
