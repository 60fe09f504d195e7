"""Flowable 7 as the OA: ApprovalPort over its REST API under `/process-api`."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
from events import InstanceId
from pydantic import ValidationError

from oa_connector.domain import (
    Ability,
    Accounts,
    Capabilities,
    Idempotency,
    Instance,
    Page,
    ProbeReport,
    Sight,
    Snapshot,
    Status,
    SubmitApproval,
    SubmitOutcome,
    SubmitResult,
    Window,
)
from oa_connector.vendors import (
    LONGEST_VERSION,
    ContractError,
    NotSentError,
    NotTakenError,
    OAError,
    RefusedError,
    of_key,
)
from oa_connector.vendors.channel import Channel, Limits, words
from oa_connector.vendors.flowable.replies import (
    Definition,
    Definitions,
    Engine,
    Process,
    Processes,
    ReplyModel,
    Tasks,
    Users,
    snapshot,
)
from oa_connector.vendors.flowable.verdicts import judged, not_done
from oa_connector.vendors.people import People
from oa_connector.vendors.secrets import Secrets, secret

PROCESS = "tonglu-approval"  # what we bring along
_RESOURCE = Path(__file__).with_name(f"{PROCESS}.bpmn20.xml")
_PROFILE = "flowable-7"
_NOTE = "已在同路处理 Decided in Tonglu"
_KNOWN_MAJOR = 7
_PAGE = 200
_LONGEST_TEXT = 4000  # characters in which Flowable keeps a string variable

R = TypeVar("R", bound=ReplyModel)


@dataclass(frozen=True, slots=True)
class FlowableAccess:
    """Where the OA is and who we are there. Secrets are asked for at each use: they rotate.

    `processes`: the process definition of each template; `deploy`: bring ours along where its key
    is not there. `claim_url` is where an approver sees the document, with `{document_id}` in it.
    """

    base_url: str
    username: str
    secrets: Secrets
    processes: Mapping[str, str] = field(default_factory=lambda: {"claim": PROCESS})
    deploy: bool = False
    claim_url: str = ""


class Flowable:
    """One Flowable server."""

    capabilities = Capabilities(
        idempotency=Idempotency.SEARCHABLE,
        sights=frozenset(
            {Sight.PUSH, Sight.POLL_ONE, Sight.POLL_CREATED_SINCE, Sight.POLL_CHANGED_SINCE}
        ),
        withdraw=Ability.API,
        comment=Ability.API,
        profile=_PROFILE,
        push_signed=True,
    )

    def __init__(self, access: FlowableAccess, limits: Limits, accounts: Accounts) -> None:
        self.capabilities = replace(
            self.capabilities, calls_per_minute=limits.calls_per_minute, burst=limits.burst
        )
        self._access = access
        self._accounts = accounts
        base = f"{access.base_url.rstrip('/')}/process-api"
        self._channel = Channel(base, limits, self._sign_in)
        self._people = People(accounts, self._knows, limits.people)

    @property
    def clock_offset(self) -> timedelta:
        return self._channel.clock_offset

    @property
    def breaker(self) -> str:
        return self._channel.breaker

    @property
    def refuses_us(self) -> bool:
        return self._channel.refuses_us

    async def probe(self) -> ProbeReport:
        version = (await self._ask(Engine, "/management/engine")).version[:LONGEST_VERSION]
        major = version.partition(".")[0]
        is_known = major.isdecimal() and int(major) <= _KNOWN_MAJOR
        forms = {name: await self._fingerprint(key) for name, key in self._processes()}
        return ProbeReport(
            version=version,
            profile=_PROFILE,
            is_degraded=not is_known,
            detail="" if is_known else f"Flowable {version} is newer than any that was tried",
            forms={name: mark for name, mark in forms.items() if mark is not None},
        )

    async def submit(self, command: SubmitApproval) -> SubmitResult:
        """Flowable takes any name for an approver, and asks nobody then: it is asked first."""
        if refusal := await self._people.refusal(command.form.approvers):
            return refusal
        try:
            reply = await self._channel.call(
                "POST", "/runtime/process-instances", json=self._form(command)
            )
        except NotSentError as error:
            return SubmitResult(SubmitOutcome.RETRY_LATER, detail=error.told)
        except OAError as error:
            return SubmitResult(SubmitOutcome.UNKNOWN, detail=error.told)
        return judged(reply)

    async def resolve(self, business_key: str) -> Sequence[Instance]:
        found = await self._all_processes(businessKey=business_key)
        ours = [one.listed for one in found if _definition_key(one) in self._keys]
        return of_key(business_key, ours, "resolve: businessKey")

    async def fetch(self, instance_id: InstanceId) -> Snapshot:
        # The process first: tasks read after an end that was seen are all there.
        found = await self._all_processes(processInstanceId=instance_id)
        if not found:
            return Snapshot(Status.VANISHED)
        seen = snapshot(found[0], await self._tasks(instance_id), self._accounts)
        return await self._people.checked(seen)

    async def scan(self, by: Sight, window: Window, cursor: str | None = None) -> Page:
        """Created: begun in the window. Changed: a process or a task of it has ended in it."""
        match by:
            case Sight.POLL_CREATED_SINCE:
                query = {"startedAfter": _iso(window.begins), "startedBefore": _iso(window.ends)}
                return await self._page(query, cursor, "startTime")
            case Sight.POLL_CHANGED_SINCE if (cursor or "").startswith("tasks:"):
                return await self._changed_tasks(window, int((cursor or "").partition(":")[2]))
            case Sight.POLL_CHANGED_SINCE:
                query = {
                    "finished": "true",
                    "finishedAfter": _iso(window.begins),
                    "finishedBefore": _iso(window.ends),
                }
                page = await self._page(query, cursor, "endTime")
                return Page(page.instances, page.next or "tasks:0")
            case _:
                raise OAError(f"Flowable has no scan by {by}")

    async def withdraw(self, instance_id: InstanceId, reason: str) -> Snapshot:
        # Its answer proves nothing either way: what the OA shows afterwards counts.
        await self._channel.call(
            "DELETE", f"/runtime/process-instances/{instance_id}", params={"deleteReason": reason}
        )
        return await self.fetch(instance_id)

    async def comment(self, instance_id: InstanceId, text: str) -> None:
        """On the process while it runs.

        Flowable takes no comment after the end: then whoever decided last finds a task with it.
        """
        reply = await self._channel.call(
            "POST",
            f"/history/historic-process-instances/{instance_id}/comments",
            json={"message": text},
        )
        if reply.status_code == httpx.codes.NOT_FOUND:
            reply = await self._note(instance_id, text)
        if not reply.is_success:
            raise not_done(reply)(f"comment: {reply.status_code}", words(reply))

    async def _note(self, instance_id: InstanceId, text: str) -> httpx.Response:
        try:
            decided = (await self._tasks(instance_id)).decided
        except NotSentError:
            raise
        except OAError as error:
            raise NotTakenError(str(error), error.words) from error
        if not decided:
            raise RefusedError(f"{instance_id} has ended, and nobody has decided in it")
        note = {"name": _NOTE, "description": text, "assignee": decided[-1].assignee}
        return await self._channel.call("POST", "/runtime/tasks", json=note)

    async def close(self) -> None:
        await self._channel.close()

    def _sign_in(self) -> httpx.Auth:
        return httpx.BasicAuth(self._access.username, secret(self._access.secrets, "password"))

    async def _knows(self, account: str) -> bool | None:
        """Whether it has a user of this name; None where it does not keep its people itself.

        That is so where it keeps not even us: they sign in by something else.
        """
        if (is_known := await self._has_user(account)) is not False:
            return is_known
        return False if await self._has_user(self._access.username) else None

    async def _has_user(self, account: str) -> bool | None:
        reply = await self._channel.call("GET", "/identity/users", params={"id": account})
        try:
            return self._read(Users, "/identity/users", reply).total > 0
        except OAError:  # no such list, or not for us: it does not say
            return None

    def _processes(self) -> list[tuple[str, str]]:
        return sorted(self._access.processes.items())

    def _form(self, command: SubmitApproval) -> dict[str, Any]:
        form = command.form
        texts = {
            "formTitle": form.title,
            "amount": form.amount,
            "currency": form.currency,
            "contentHash": command.content_hash,
            "submitter": self._accounts.to_oa(form.submitter_id),
            "documentId": command.document_id,
            "summary": "\n".join(form.details)[:_LONGEST_TEXT],
            "claimUrl": self._access.claim_url.replace("{document_id}", command.document_id),
        }
        variables = [{"name": name, "type": "string", "value": texts[name]} for name in texts]
        approvers = [self._accounts.to_oa(one) for one in form.approvers]
        return {
            "processDefinitionKey": self._access.processes.get(command.template, command.template),
            "businessKey": command.business_key,
            "name": form.title,
            "variables": [{"name": "approvers", "value": approvers}, *variables],
        }

    async def _fingerprint(self, key: str) -> str | None:
        """Of the newest version of this process: of its source as it was deployed."""
        found = await self._newest(key)
        if found is None and self._access.deploy and key == PROCESS:
            await self._bring_along()
            found = await self._newest(key)
        if found is None:
            return None
        resource = await self._channel.call(
            "GET", f"/repository/process-definitions/{found.id}/resourcedata"
        )
        if not resource.is_success:
            raise OAError(f"{key}: {resource.status_code}", words(resource))
        return hashlib.sha256(resource.content).hexdigest()

    async def _newest(self, key: str) -> Definition | None:
        found = await self._ask(
            Definitions, "/repository/process-definitions", key=key, latest="true"
        )
        return found.data[0] if found.data else None

    async def _bring_along(self) -> None:
        content = _RESOURCE.read_bytes()
        reply = await self._channel.call(
            "POST", "/repository/deployments", files={"file": (_RESOURCE.name, content)}
        )
        if not reply.is_success:
            raise OAError(f"deploy: {reply.status_code}", words(reply))

    async def _page(self, query: Mapping[str, str], cursor: str | None, sort: str) -> Page:
        start = int(cursor or 0)
        found = await self._some_processes(**query, start=start, sort=sort)
        shown = start + len(found.data)
        ours = [one.listed for one in found.data if _definition_key(one) in self._keys]
        return Page(tuple(ours), str(shown) if shown < found.total and found.data else None)

    async def _changed_tasks(self, window: Window, start: int) -> Page:
        """Processes in which a task has ended, and that have not ended themselves."""
        found = await self._ask(
            Tasks,
            "/history/historic-task-instances",
            finished="true",
            taskCompletedAfter=_iso(window.begins),
            taskCompletedBefore=_iso(window.ends),
            sort="endTime",
            order="asc",
            start=start,
            size=_PAGE,
        )
        latest = {
            one.process_id: one.end_time for one in found.data if one.process_id and one.end_time
        }
        instances = [
            _changed_at(one, latest[one.id])
            for one in await self._running(latest)
            if one.id in latest and _definition_key(one) in self._keys
        ]
        shown = start + len(found.data)
        has_more = shown < found.total and bool(found.data)
        return Page(tuple(instances), f"tasks:{shown}" if has_more else None)

    @property
    def _keys(self) -> set[str]:
        return set(self._access.processes.values())

    async def _tasks(self, instance_id: InstanceId) -> Tasks:
        tasks = await self._ask(
            Tasks,
            "/history/historic-task-instances",
            processInstanceId=instance_id,
            includeTaskLocalVariables="true",
            sort="startTime",
            order="asc",
            size=_PAGE,
        )
        if tasks.total != len(tasks.data):
            raise ContractError(f"{tasks.total} tasks, {len(tasks.data)} shown")
        return tasks

    async def _all_processes(self, **query: str) -> tuple[Process, ...]:
        found = await self._some_processes(**query)
        if found.total != len(found.data):
            raise ContractError(f"{found.total} processes, {len(found.data)} shown")
        return found.data

    async def _some_processes(self, **query: str | int) -> Processes:
        asked: dict[str, str | int] = {"sort": "startTime", "order": "asc", "size": _PAGE}
        path = "/history/historic-process-instances"
        return await self._ask(Processes, path, **asked | query, includeProcessVariables="true")

    async def _running(self, ids: Collection[str]) -> tuple[Process, ...]:
        """Those of at most a page that have not ended, in one call: each look-up costs a turn.

        GET takes no list of ids: it leaves out what it does not know, and shows every process.
        """
        if not ids:  # no list is no condition
            return ()
        asked = {"processInstanceIds": [*ids], "finished": False, "includeProcessVariables": True}
        path = "/query/historic-process-instances"
        reply = await self._channel.call("POST", path, json=asked | {"size": _PAGE})
        return self._read(Processes, path, reply).data

    async def _ask(self, model: type[R], path: str, **query: str | int) -> R:
        return self._read(model, path, await self._channel.call("GET", path, params=query))

    @staticmethod
    def _read(model: type[R], path: str, reply: httpx.Response) -> R:
        if reply.status_code != httpx.codes.OK:
            raise OAError(f"{path}: {reply.status_code}", words(reply))
        try:
            return model.model_validate_json(reply.content)
        except ValidationError as error:
            raise ContractError(f"{path}: an answer that is not one", words(reply)) from error


def _definition_key(process: Process) -> str:
    """`tonglu-approval:1:…` is a version of `tonglu-approval`."""
    return process.definition_id.partition(":")[0]


def _changed_at(process: Process, ended: datetime) -> Instance:
    return replace(process.listed, changed_at=ended)


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
