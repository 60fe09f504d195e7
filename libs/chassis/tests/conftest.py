"""A migrated database of the chassis alone, and a bus on it."""

import sys
from pathlib import Path
from typing import Any

import pytest
from chassis.db import Database
from chassis.testing import database_fixture

sys.path.append(str(Path(__file__).parent))  # the tests are no package, and share bus.py
from bus import Bus, make_bus

template, database = database_fixture("chassis", [])


@pytest.fixture
async def bus(kafka: Any, postgres: Any, database: Database) -> Bus:
    return await make_bus(kafka.bootstrap_servers, postgres.dsn, database)
