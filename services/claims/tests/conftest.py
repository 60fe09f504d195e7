"""A migrated database with the packaged limits, an app to call, and claims to start from."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from chassis.db import Database
from chassis.http import Edge
from chassis.testing import Issuer, api_client, database_fixture
from claims.api import REFUSALS, ROUTERS
from claims.policy import handlers as policy_handlers
from claims.policy.domain import parse_limits
from claims.settings import PACKAGED_LIMITS

template, bare_database = database_fixture("claims", Path(__file__).parents[1] / "migrations")


@pytest.fixture
async def database(bare_database: Database) -> Database:
    async with bare_database.transaction() as tx:
        await policy_handlers.import_limits(tx, parse_limits(PACKAGED_LIMITS.read_text()))
    return bare_database


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def client(database: Database, issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    verifier = issuer.verifier()
    edge = Edge("claims", database, verifier, ROUTERS, REFUSALS)
    async with api_client(edge) as client:
        client.headers.update({"accept-language": "en", **issuer.bearer("E1001", "employee")})
        yield client
    await verifier.close()
