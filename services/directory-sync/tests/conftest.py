"""A migrated database per test, and a company in files that a test may damage."""

import shutil
from pathlib import Path

import pytest
from chassis.testing import database_fixture

_ROOT = Path(__file__).resolve().parents[3]

template, database = database_fixture("directory-sync", Path(__file__).parents[1] / "migrations")


@pytest.fixture
def company(tmp_path: Path) -> Path:
    folder = tmp_path / "company"
    folder.mkdir()
    for name in ("people.csv", "departments.csv"):
        shutil.copy(_ROOT / "examples" / "company" / name, folder)
    return folder
