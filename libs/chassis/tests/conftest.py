"""A migrated database of the chassis alone."""

from chassis.testing import database_fixture

template, database = database_fixture("chassis", [])
