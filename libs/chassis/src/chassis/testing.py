"""For the tests of services: a migrated database per test, an issuer, and an app to call.

The fixture `postgres` (a real server) comes from the local stack's pytest plugin.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import RSAKey

from chassis.auth import Verifier
from chassis.db import Database
from chassis.http import Edge, create_app
from chassis.migrate import CHASSIS, migrate

AUDIENCE = "tonglu-api"
_numbers = itertools.count(1)


@dataclass(slots=True)
class Issuer:
    """An OIDC issuer in the test's own process: discovery, keys that can rotate, signed tokens."""

    url: str = "http://issuer.test"
    keys: list[RSAKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rotate()

    def rotate(self) -> None:
        """Sign with a new key from now on; the old ones stay published."""
        self.keys.append(RSAKey.generate_key(2048, {"kid": f"key-{next(_numbers)}"}))

    def token(self, subject: str, *roles: str, machine: bool = False, **claims: Any) -> str:
        """An access token for this subject, valid for five minutes unless `claims` say else."""
        now = int(time.time())
        body = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": subject,
            "client_id": subject if machine else "tonglu-web",
            "roles": list(roles),
            "iat": now,
            "exp": now + 300,
            **claims,
        }
        key = self.keys[-1]
        return jwt.encode({"alg": "RS256", "kid": key.kid}, body, key, algorithms=["RS256"])

    def bearer(self, subject: str, *roles: str, machine: bool = False) -> dict[str, str]:
        """Headers that sign this subject in."""
        return {"authorization": f"Bearer {self.token(subject, *roles, machine=machine)}"}

    def verifier(self) -> Verifier:
        """A verifier that reads this issuer's keys by the way it reads any issuer's."""
        app = FastAPI()

        @app.get("/.well-known/openid-configuration")
        async def discovery() -> dict[str, str]:
            return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}

        @app.get("/jwks")
        async def jwks() -> dict[str, Any]:
            return {"keys": [key.as_dict(private=False) for key in self.keys]}

        transport = httpx.ASGITransport(app=app)
        return Verifier(self.url, AUDIENCE, http=httpx.AsyncClient(transport=transport))


@asynccontextmanager
async def api_client(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    """A client that calls the app in process, through every layer of its edge."""
    edge.health.started = True
    transport = httpx.ASGITransport(app=create_app(edge), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service.test") as client:
        yield client


async def until_one_waits_for_a_lock(database: Database) -> None:
    """Until some transaction waits for another one; fails after 20 s."""
    async with asyncio.timeout(20):
        waiting = 0
        while not waiting:
            await asyncio.sleep(0.01)
            waiting = await database.pool.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )


def database_fixture(service: str, migrations: Path | Sequence[Path]) -> Any:
    """A fixture `database` for a conftest: each test gets its own clone of a migrated template."""
    folders = [migrations] if isinstance(migrations, Path) else list(migrations)

    @pytest.fixture(scope="session")
    async def template(postgres: Any, worker_id: str) -> str:
        name = f"template_{service}_{worker_id}"
        dsn = await postgres.create_database(name)
        await migrate(dsn, [CHASSIS, *folders])
        return name

    @pytest.fixture
    async def database(postgres: Any, template: str) -> AsyncIterator[Database]:
        dsn = await postgres.create_database(f"{template}_{next(_numbers)}", template=template)
        database = await Database.connect(dsn, size=5)
        yield database
        await database.close()

    return template, database
