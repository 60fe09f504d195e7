"""The whole of Tonglu on real servers: five processes, Kafka, PostgreSQL, the OA, an issuer."""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from local_stack.pkce import sign_in
from local_stack.places import CACHE
from local_stack.stack import Stack
from tonglu import demo, topology
from tonglu.company import Company
from tonglu.oa_people import OAPerson
from tonglu.site import Site

T = TypeVar("T")


async def eventually(
    ask: Callable[[], Awaitable[T]], *, until: Callable[[T], bool] = bool, seconds: float = 60.0
) -> T:
    """Ask again and again until the answer is right; the last answer is in the failure."""
    answer: Any = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = await ask()
                if until(answer):
                    return answer
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"not within {seconds} s; last answer: {answer}")


@dataclass(frozen=True)
class Town:
    """One running Tonglu with its people."""

    stack: Stack
    people: Company
    site: Site

    async def token(self, person: str) -> str:
        return await sign_in(self.site.address("OIDC_ISSUER"), person, self.people.secrets.password)

    async def call(self, service: str, method: str, path: str, who: str, **options: Any) -> Any:
        """As this person; a refusal raises RefusedError."""
        return await self.site.call(service, method, path, token=await self.token(who), **options)

    async def submitted(self, who: str = demo.SUBMITTER, **changes: Any) -> str:
        """A claim handed in; its id."""
        draft = await self.call("claims", "POST", "/api/claims", who, json=demo.CLAIM | changes)
        await self.submit(str(draft["id"]), who)
        return str(draft["id"])

    async def submit(self, claim_id: str, who: str = demo.SUBMITTER, key: str = "") -> Any:
        return await self.call(
            *("claims", "POST", f"/api/claims/{claim_id}/submit", who),
            headers={"idempotency-key": key or str(uuid.uuid4())},
        )

    async def claim(self, claim_id: str, who: str = demo.SUBMITTER) -> Any:
        return await self.call("claims", "GET", f"/api/claims/{claim_id}", who)

    async def status_becomes(self, claim_id: str, status: str, seconds: float = 60.0) -> Any:
        return await eventually(
            lambda: self.claim(claim_id),
            until=lambda claim: claim["status"] == status,
            seconds=seconds,
        )

    async def timeline(self, claim_id: str, who: str = demo.SUBMITTER) -> list[dict[str, Any]]:
        answer = await self.call("claims", "GET", f"/api/claims/{claim_id}/timeline", who)
        return list(answer["items"])

    def in_oa(self, person: str) -> OAPerson:
        """This person with the OA open."""
        return OAPerson(self.site.address("FLOWABLE_URL"), person, self.people.secrets.password)


@pytest.fixture(scope="session")
async def town() -> AsyncIterator[Town]:
    """Started once for all journeys; every test uses claims of its own."""
    folder = CACHE / "test-town" / uuid.uuid4().hex[:8]
    stack, people = topology.open_stack(folder, durable=False)
    try:
        await demo.start_processes(stack, people, with_finance=True)
        yield Town(stack, people, Site(folder))
    finally:
        await stack.down()
        shutil.rmtree(folder, ignore_errors=True)
