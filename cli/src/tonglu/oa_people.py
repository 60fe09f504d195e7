"""Deciding in the OA as its people do: through Flowable's own REST, signed in as oneself."""

import asyncio
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class OAPerson:
    """One person with the OA open."""

    base_url: str
    user: str
    password: str

    async def decide(self, business_key: str, outcome: str, opinion: str) -> None:
        """Wait until the task of this document is mine, then decide it.

        Raises:
            TimeoutError: it did not come within a minute.
        """
        async with self._signed_in() as http:
            task = await self._my_task(http, business_key)
            answer = await http.post(
                f"/runtime/tasks/{task}",
                json={
                    "action": "complete",
                    "variables": [
                        {"name": "outcome", "value": outcome, "scope": "local"},
                        {"name": "opinion", "value": opinion, "scope": "local"},
                        {"name": "lastOutcome", "value": outcome},
                    ],
                },
            )
            answer.raise_for_status()

    async def sees(self, business_key: str) -> None:
        """Wait until the task of this document is mine, and leave it.

        Raises:
            TimeoutError: it did not come within a minute.
        """
        async with self._signed_in() as http:
            await self._my_task(http, business_key)

    def _signed_in(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"{self.base_url}/process-api", auth=(self.user, self.password), timeout=30
        )

    async def _my_task(self, http: httpx.AsyncClient, business_key: str) -> str:
        async with asyncio.timeout(60):
            return await self._search(http, business_key)

    async def _search(self, http: httpx.AsyncClient, business_key: str) -> str:
        while True:
            found = await http.get(
                "/runtime/tasks",
                params={
                    "assignee": self.user,
                    "processInstanceBusinessKeyLike": f"{business_key}%",
                },
            )
            if tasks := found.raise_for_status().json()["data"]:
                return str(tasks[0]["id"])
            await asyncio.sleep(0.1)
