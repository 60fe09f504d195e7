"""One running Tonglu with its people: what they do, and what a test may do to its processes."""

import asyncio
import shutil
import signal
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from events import topic_specs, topics
from local_stack.pkce import sign_in
from local_stack.places import CHECKOUT
from local_stack.postgres import database_dsn
from local_stack.process import Process, Running, exit_code
from local_stack.stack import Stack
from postman import Postman
from tonglu import demo, topology
from tonglu.company import Company
from tonglu.oa_people import OAPerson
from tonglu.reading import Range, bounds, partitions, reader, records
from tonglu.road import Hop, Road
from tonglu.site import Site

T = TypeVar("T")

EMPLOYEE, MANAGER, FINANCE, STRANGER = "E1001", "E1002", "E1003", "E1010"
MACHINE = "tonglu-cli"
DEADLINE = 90.0
_TOKEN_SECONDS = 200.0
_QUIET_SECONDS = 2.0
# Short patience, so that a test waits for the fault and not for a timeout of production.
_QUICK: Mapping[str, Mapping[str, str]] = {
    "oa-connector": {
        "FOLLOW_YOUNG_SECONDS": "1",
        "LOOKUP_SECONDS": "[1, 1, 1]",
        "LONGEST_WAIT_SECONDS": "2",
        "CALL_SECONDS": "6",
        "LEASE_SECONDS": "13",
    },
}


async def eventually(
    ask: Callable[[], Awaitable[T]], *, until: Callable[[T], bool] = bool, seconds: float = DEADLINE
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


@dataclass(slots=True)
class Town:
    """The five services, their servers, the finance system and the people around them."""

    stack: Stack
    people: Company
    folder: Path
    postman: Postman
    provides: dict[str, str] = field(default_factory=dict)
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=20))
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    _site: Site | None = None

    @classmethod
    def on(cls, folder: Path) -> "Town":
        """A town in a folder of its own, nothing started yet."""
        stack, people = topology.open_stack(folder, durable=False)
        postman = Postman(stack.port("postman"), f"http://127.0.0.1:{stack.port('oa-connector')}")
        webhook = f"http://127.0.0.1:{postman.port}/callbacks/{topology.TENANT}"
        stack.options = replace(stack.options, webhook_url=webhook)
        town = cls(stack, people, folder, postman)
        shutil.copytree(CHECKOUT / "examples" / "company", town.company_folder, dirs_exist_ok=True)
        return town

    @property
    def company_folder(self) -> Path:
        """The files of the directory and of the approval definitions: a copy, free to change."""
        return self.folder / "company"

    @property
    def ledger_file(self) -> Path:
        return self.folder / "ledger.sqlite"

    @property
    def site(self) -> Site:
        """Where everything is; known once all of it has been started."""
        if self._site is None:
            self._site = Site(self.folder)
        return self._site

    # --- processes

    async def start(self) -> None:
        """Servers first: a commit must outlive the server, as in production, before any is made."""
        await self.postman.start()
        self.provides = await self.stack.up(elsewhere={})
        await self._sql_on("postgres", "ALTER ROLE postgres SET synchronous_commit = on")
        await self.stack.up((), lambda _: self._processes())
        await self._load_company()

    async def end(self, *, is_kept: bool) -> None:
        """Take it down; its logs stay until the next run, to see what went wrong."""
        await self.http.aclose()
        await self.postman.stop()
        if is_kept:
            return
        await self.stack.down()
        kept = self.folder.parent / "logs"
        shutil.rmtree(kept, ignore_errors=True)
        (self.folder / "logs").replace(kept)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _processes(self, more: Mapping[str, Mapping[str, str]] | None = None) -> list[Process]:
        own: dict[str, dict[str, str]] = {
            name: {"KAFKA_SESSION_SECONDS": "6"} | dict(_QUICK.get(name, {}))
            for name in topology.SERVICES
        }
        own["directory-sync"]["DIRECTORY_FOLDER"] = str(self.company_folder)
        own["workflow"]["DEFINITIONS_DIR"] = str(self.company_folder / "definitions")
        for name, env in (more or {}).items():
            own[name] |= env
        services = topology.services(self.stack, self.people, own)(self.provides)
        return [*services, demo._finance(self.stack, self.people, self.provides)]

    async def run(self, *names: str, **env: str) -> None:
        """Start these processes unless they run; services are told `env` besides."""
        more = {name: env for name in names if name in topology.SERVICES}
        wanted = [one for one in self._processes(more) if one.name in names]
        parts = [name for name in names if name in {"kafka", "postgres", "flowable", "identity"}]
        await self.stack.up(parts, lambda _: wanted, elsewhere={})

    async def run_anew(self, name: str, **env: str) -> None:
        """Stop it the orderly way, and start it with `env` besides."""
        await self.stop(name)
        await self.run(name, **env)

    async def stop(
        self, name: str, number: signal.Signals | None = None
    ) -> tuple[int | None, float]:
        """Stop it by SIGTERM, or by `number`; its exit code, and how long it took."""
        running, began = self._running(name), time.monotonic()
        await self.stack.stop(name, number)
        return exit_code(running), time.monotonic() - began

    async def died(self, name: str) -> bool:
        """Whether it has ended by itself since it was started."""
        return name not in self.stack._state.alive()

    def _running(self, name: str) -> Running:
        return self.stack._state.alive()[name]

    # --- asking the services

    async def token(self, who: str) -> str:
        """Of a person, or of a machine client; kept while it is fresh."""
        token, until = self._tokens.get(who, ("", 0.0))
        if time.monotonic() > until:
            password = self.people.secrets.password
            issuer = self.provides["OIDC_ISSUER"]
            is_person = who.startswith("E")
            token = await (
                sign_in(issuer, who, password) if is_person else self.site.machine_token(who)
            )
            self._tokens[who] = token, time.monotonic() + _TOKEN_SECONDS
        return token

    async def ask(
        self, who: str, service: str, method: str, path: str, **options: Any
    ) -> httpx.Response:
        """One request as this person, whatever the answer."""
        url = f"http://127.0.0.1:{self.stack.port(service)}{path}"
        own = {"authorization": f"Bearer {await self.token(who)}", "accept-language": "en"}
        return await self.http.request(
            method, url, headers=own | options.pop("headers", {}), **options
        )

    async def insist(
        self, who: str, service: str, method: str, path: str, **options: Any
    ) -> httpx.Response:
        """As a good client does it: the same request again while the answer is lost or 503."""

        async def once() -> httpx.Response | None:
            try:
                answer = await self.ask(who, service, method, path, **options)
            except httpx.TransportError:
                return None
            return None if answer.status_code in {409, 503} and _is_early(answer) else answer

        answer = await eventually(once, until=lambda found: found is not None)
        assert answer is not None
        return answer

    async def get(self, who: str, service: str, path: str) -> Any:
        answer = await self.insist(who, service, "GET", path)
        assert answer.is_success, answer.text
        return answer.json()

    # --- claims

    async def draft(self, who: str = EMPLOYEE, **changes: Any) -> str:
        """A new claim; its id."""
        body = demo.CLAIM | changes
        answer = await self.insist(who, "claims", "POST", "/api/claims", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def submit(self, claim_id: str, who: str = EMPLOYEE, key: str = "") -> httpx.Response:
        """Hand it in, insisting under one Idempotency-Key."""
        return await self.insist(
            *(who, "claims", "POST", f"/api/claims/{claim_id}/submit"),
            headers={"idempotency-key": key or str(uuid.uuid4())},
        )

    async def submitted(self, who: str = EMPLOYEE, **changes: Any) -> str:
        """A claim handed in; its id."""
        claim_id = await self.draft(who, **changes)
        answer = await self.submit(claim_id, who)
        assert answer.status_code == 202, answer.text
        return claim_id

    async def claim(self, claim_id: str, who: str = EMPLOYEE) -> Any:
        return await self.get(who, "claims", f"/api/claims/{claim_id}")

    async def becomes(self, claim_id: str, status: str, who: str = EMPLOYEE) -> Any:
        """Wait until the claim has this status; the claim."""
        return await eventually(
            lambda: self.claim(claim_id, who), until=lambda claim: claim["status"] == status
        )

    async def decide(self, claim_id: str, person: str, outcome: str, opinion: str = "好") -> None:
        """In the OA, as this person, once the task is there and however long the OA is away."""

        async def decided() -> bool:
            try:
                await self.in_oa(person).decide(claim_id, outcome, opinion)
            except httpx.HTTPError:
                return False
            return True

        await eventually(decided)

    def in_oa(self, person: str) -> OAPerson:
        """This person with the OA open."""
        return OAPerson(self.provides["FLOWABLE_URL"], person, self.people.secrets.password)

    async def task(self, person: str, claim_id: str) -> dict[str, Any] | None:
        """What this person's inbox here shows of the claim; None: nothing."""
        after = ""
        while True:
            page = await self.get(person, "workflow", f"/api/tasks?limit=200{after}")
            for one in page["items"]:
                if one["document_id"] == claim_id:
                    return dict(one)
            if page["next"] is None:
                return None
            after = f"&after={page['next']}"

    async def decide_here(self, person: str, task: Mapping[str, Any], **changes: Any) -> Any:
        """In Tonglu's inbox, on the content that it shows; approved, unless `changes` say else."""
        return await self.insist(
            *(person, "workflow", "POST", f"/api/tasks/{task['task_id']}/decide"),
            json={"decision": "approve", "content_hash": task["content_hash"]} | changes,
            headers={"idempotency-key": str(uuid.uuid4())},
        )

    async def approves(self, mode: str) -> None:
        """From now on claims are approved in this mode."""
        await demo.define(self.site, mode)

    async def approve(self, *claim_ids: str) -> None:
        """Both approvers agree, in the OA."""
        for person in (MANAGER, FINANCE):
            await asyncio.gather(*(self.decide(one, person, "approve") for one in claim_ids))

    async def paid(self, *claim_ids: str) -> None:
        await asyncio.gather(*(self.becomes(one, "paid") for one in claim_ids))

    # --- what lies where

    async def records(self) -> list[ConsumerRecord]:
        """Every record of every topic of the contracts, partition by partition."""
        found: list[ConsumerRecord] = []
        async with reader(self.provides["KAFKA_BOOTSTRAP_SERVERS"]) as consumer:
            places = [
                place for spec in topic_specs() for place in await partitions(consumer, spec.name)
            ]
            async for batch in records(consumer, await bounds(consumer, places, Range())):
                found += batch
        return found

    async def is_quiet(self) -> None:
        """Wait until every service has read all that it subscribes to, and nothing more comes."""
        seen: dict[TopicPartition, int] = {}
        since = time.monotonic()

        async def quiet() -> bool:
            nonlocal seen, since
            ends = await self._ends()
            if ends != seen:
                seen, since = ends, time.monotonic()
            if time.monotonic() - since < _QUIET_SECONDS:
                return False
            return not await self._unread(ends)

        await eventually(quiet)

    async def _ends(self) -> dict[TopicPartition, int]:
        async with reader(self.provides["KAFKA_BOOTSTRAP_SERVERS"]) as consumer:
            places = [one for spec in topics() for one in await partitions(consumer, spec.name)]
            return dict(await consumer.end_offsets(places))

    async def _unread(self, ends: Mapping[TopicPartition, int]) -> set[tuple[str, TopicPartition]]:
        """The partitions in which a service has events before it."""
        readers = {spec.name: set(spec.readers) for spec in topics()}
        admin = AIOKafkaAdminClient(bootstrap_servers=self.provides["KAFKA_BOOTSTRAP_SERVERS"])
        await admin.start()
        try:
            return {
                (group, place)
                for group in topology.SERVICES
                for done in [await admin.list_consumer_group_offsets(group)]
                for place, end in ends.items()
                if group in readers[place.topic]
                and end > (done[place].offset if place in done else 0)
            }
        finally:
            await admin.close()

    async def hops(self, claim_id: str) -> list[Hop]:
        """The events of one claim's road, as Kafka has them, by their time."""
        road = Road(claim_id, EMPLOYEE)
        for record in sorted(await self.records(), key=lambda record: record.timestamp):
            road.add(record)
        return road.hops

    async def sql(self, service: str, query: str, *values: object) -> list[asyncpg.Record]:
        """Look into a service's database: for proofs, never to change what it says."""
        return await self._sql_on(service, query, *values)

    async def _sql_on(self, database: str, query: str, *values: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(database_dsn(self.provides["POSTGRES_DSN"], database))
        try:
            return list(await connection.fetch(query, *values))
        finally:
            await connection.close()

    def ledger(self, payment_id: str = "%") -> list[sqlite3.Row]:
        """What the finance system has booked: for one payment, or all."""
        with closing(sqlite3.connect(self.ledger_file)) as book:
            book.row_factory = sqlite3.Row
            query = "SELECT * FROM entry WHERE payment_id LIKE ?"
            return book.execute(query, (payment_id,)).fetchall()

    async def oa_processes(self, claim_id: str) -> list[dict[str, Any]]:
        """All processes that the OA has, or had, for this claim."""
        answer = await self.http.get(
            f"{self.provides['FLOWABLE_URL']}/process-api/history/historic-process-instances",
            params={"businessKeyLike": f"{claim_id}%", "size": 200},
            auth=("oa-admin", self.people.secrets.oa_admin),
        )
        return list(answer.raise_for_status().json()["data"])

    async def counted(self, service: str, name: str, **labels: str) -> float:
        """The value of one metric of a service."""
        page = (await self.insist(MACHINE, service, "GET", "/metrics")).text
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = (line for line in page.splitlines() if line.startswith(f"{name}{{"))
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in lines if all(one in line for one in wanted)
        )

    async def _load_company(self) -> None:
        plan = (await self.insist(MACHINE, "directory-sync", "POST", "/api/directory/plan")).json()
        answer = await self.insist(
            *(MACHINE, "directory-sync", "POST", "/api/directory/apply"),
            json={"digest": plan["digest"]},
            headers={"idempotency-key": str(uuid.uuid4())},
        )
        assert answer.is_success, answer.text

    @asynccontextmanager
    async def under_load(self) -> AsyncIterator[list[str]]:
        """Somebody hands in one claim after the other; the ids of those that were accepted."""
        accepted: list[str] = []
        is_over = asyncio.Event()

        async def hand_in() -> None:
            while not is_over.is_set():
                accepted.append(await self.submitted())

        loop = asyncio.create_task(hand_in())
        try:
            await eventually(_always(lambda: len(accepted) >= 2))
            yield accepted
            before = len(accepted)
            await eventually(_always(lambda: len(accepted) > before))
        finally:
            is_over.set()
            await loop

    async def arrived(self, claim_ids: Iterable[str]) -> None:
        """Wait until each of these has exactly one open process in the OA, and its approval."""
        wanted = sorted(claim_ids)

        async def arrived() -> Sequence[str]:
            rows = await self.sql(
                "oa-connector",
                "SELECT document_id FROM submission WHERE document_id = ANY ($1)"
                " AND state = 'SUBMITTED' ORDER BY document_id",
                wanted,
            )
            return [row["document_id"] for row in rows]

        await eventually(arrived, until=lambda found: found == wanted)


def _always(ask: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return ask()

    return asked


def _is_early(answer: httpx.Response) -> bool:
    """Busy, or the first request under this key is still being handled: not an answer yet."""
    return answer.status_code == 503 or answer.json()["type"].endswith("in-flight")
