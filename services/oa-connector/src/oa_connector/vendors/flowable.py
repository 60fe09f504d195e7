"""Flowable 7 as the OA: its REST API under `/process-api`, and the callbacks of its host."""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import httpx
from aiolimiter import AsyncLimiter
from events import EmployeeId, InstanceId
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from oa_connector.domain import (
    DecidedStep,
    Instance,
    Snapshot,
    Status,
    Submission,
    SubmitOutcome,
    SubmitResult,
)
from oa_connector.vendors import (
    CallbackMalformedError,
    CallbackRefusedError,
    Hint,
    OAError,
)

_WINDOW = timedelta(minutes=5)
_PAGE = 200
_LONGEST_TEXT = 4000  # characters in which Flowable keeps a string variable
_ENDS = {"approved": Status.APPROVED, "rejected": Status.REJECTED, "returned": Status.RETURNED}
# Nothing was begun, and it may work later: sign-in that is being repaired, a full bucket.
_LATER = {401, 403, 429}


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Variable(_Reply):
    name: str
    value: Any = None


class _Variables(_Reply):
    variables: tuple[_Variable, ...] = ()

    def text(self, name: str) -> str | None:
        """The value of this variable where it is a text."""
        found = next((one.value for one in self.variables if one.name == name), None)
        return found if isinstance(found, str) else None


class _Begun(_Reply):
    id: str = Field(min_length=1)


class _Process(_Variables):
    id: str = Field(min_length=1)
    end_time: AwareDatetime | None = Field(None, alias="endTime")
    end_activity: str | None = Field(None, alias="endActivityId")
    delete_reason: str | None = Field(None, alias="deleteReason")

    @property
    def status(self) -> Status:
        """By the end event; without one, but with a reason, it was cancelled from outside."""
        if self.end_time is None:
            return Status.PENDING
        if self.end_activity is None and self.delete_reason is not None:
            return Status.WITHDRAWN
        return _ENDS.get(self.end_activity or "", Status.UNKNOWN)


class _Task(_Variables):
    assignee: str | None = None
    end_time: AwareDatetime | None = Field(None, alias="endTime")
    delete_reason: str | None = Field(None, alias="deleteReason")


class _Processes(_Reply):
    total: int
    data: tuple[_Process, ...]


class _Tasks(_Reply):
    total: int
    data: tuple[_Task, ...]


class _Engine(_Reply):
    version: str


R = TypeVar("R", bound=_Reply)


@dataclass(frozen=True, slots=True)
class FlowableAccess:
    """Where the OA is and who we are there. Secrets are asked for at each use: they rotate.

    `claim_url` is where an approver can see the document, with `{document_id}` in it.
    """

    base_url: str
    username: str
    password: Callable[[], str]
    process_key: str = "tonglu-approval"
    claim_url: str = ""
    calls_per_second: int = 50
    timeout: httpx.Timeout = field(
        default_factory=lambda: httpx.Timeout(connect=3.0, read=8.0, write=3.0, pool=3.0)
    )


class Flowable:
    """ApprovalPort over one Flowable server."""

    def __init__(self, access: FlowableAccess) -> None:
        self._access = access
        self._limiter = AsyncLimiter(access.calls_per_second, 1)
        self._http = httpx.AsyncClient(
            base_url=f"{access.base_url.rstrip('/')}/process-api",
            timeout=access.timeout,
            follow_redirects=False,
            trust_env=False,  # the OA is inside: no proxy of the machine may stand between
        )

    async def probe(self) -> str:
        return (await self._ask(_Engine, "/management/engine")).version

    async def submit(self, submission: Submission) -> SubmitResult:
        try:
            reply = await self._call(
                "POST", "/runtime/process-instances", json=self._form(submission)
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return SubmitResult(SubmitOutcome.RETRY_LATER, detail=_said(error))
        except httpx.HTTPError as error:
            return SubmitResult(SubmitOutcome.UNKNOWN, detail=_said(error))
        return _judged(reply)

    async def resolve(self, business_key: str) -> Sequence[Instance]:
        found = await self._processes(
            businessKey=business_key, processDefinitionKey=self._access.process_key
        )
        return [
            Instance(InstanceId(one.id), one.text("contentHash"), one.status is Status.PENDING)
            for one in found
        ]

    async def fetch(self, instance_id: InstanceId) -> Snapshot:
        # The process first: tasks read after an end that was seen are all there.
        found = await self._processes(processInstanceId=instance_id)
        if not found:
            return Snapshot(Status.VANISHED)
        process = found[0]
        tasks = await self._ask(
            _Tasks,
            "/history/historic-task-instances",
            processInstanceId=instance_id,
            includeTaskLocalVariables="true",
            sort="startTime",
            order="asc",
            size=_PAGE,
        )
        if tasks.total != len(tasks.data):
            raise OAError(f"{tasks.total} tasks, {len(tasks.data)} shown")
        return Snapshot(
            status=process.status,
            content_hash=process.text("contentHash"),
            steps=tuple(_decided(tasks.data)),
            ended_at=process.end_time,
        )

    async def withdraw(self, instance_id: InstanceId, reason: str) -> Snapshot:
        try:
            await self._call(
                "DELETE",
                f"/runtime/process-instances/{instance_id}",
                params={"deleteReason": reason},
            )
        except httpx.HTTPError as error:
            raise OAError(_said(error)) from error
        return await self.fetch(instance_id)

    async def close(self) -> None:
        await self._http.aclose()

    def _form(self, submission: Submission) -> dict[str, Any]:
        form = submission.form
        texts = {
            "formTitle": form.title,
            "amount": form.amount,
            "currency": form.currency,
            "contentHash": submission.content_hash,
            "submitter": form.submitter_id,
            "documentId": submission.document_id,
            "summary": "\n".join(form.details)[:_LONGEST_TEXT],
            "claimUrl": self._access.claim_url.format(document_id=submission.document_id),
        }
        variables = [{"name": name, "type": "string", "value": texts[name]} for name in texts]
        return {
            "processDefinitionKey": self._access.process_key,
            "businessKey": submission.business_key,
            "name": form.title,
            "variables": [{"name": "approvers", "value": list(form.approvers)}, *variables],
        }

    async def _processes(self, **query: str) -> tuple[_Process, ...]:
        found = await self._ask(
            _Processes,
            "/history/historic-process-instances",
            **query,
            includeProcessVariables="true",
            sort="startTime",
            order="asc",
            size=_PAGE,
        )
        if found.total != len(found.data):
            raise OAError(f"{found.total} processes, {len(found.data)} shown")
        return found.data

    async def _ask(self, model: type[R], path: str, **query: str | int) -> R:
        try:
            reply = await self._call("GET", path, params=query)
        except httpx.HTTPError as error:
            raise OAError(_said(error)) from error
        if reply.status_code != httpx.codes.OK:
            raise OAError(f"{path}: {_words(reply)}")
        try:
            return model.model_validate_json(reply.content)
        except ValidationError as error:
            raise OAError(f"{path}: an answer that is not one: {_words(reply)}") from error

    async def _call(self, method: str, path: str, **more: Any) -> httpx.Response:
        async with self._limiter:
            auth = httpx.BasicAuth(self._access.username, self._access.password())
            return await self._http.request(method, path, auth=auth, **more)


@dataclass(frozen=True, slots=True)
class FlowableCallbacks:
    """InboundPort for the host's webhook: HMAC-SHA256 over the timestamp, a point and the body."""

    secret: Callable[[], str]

    def open(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Hint]:
        sent_at = headers.get("x-oa-timestamp", "")
        signed = sent_at.encode() + b"." + body
        expected = hmac.new(self.secret().encode(), signed, hashlib.sha256).hexdigest()
        signature = headers.get("x-oa-signature", "")
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise CallbackRefusedError("signature")
        if not sent_at.isdecimal() or abs(int(sent_at) - now.timestamp()) > _WINDOW.total_seconds():
            raise CallbackRefusedError("timestamp")
        try:
            event = _Callback.model_validate(json.loads(body))
        except (ValueError, RecursionError) as error:
            raise CallbackMalformedError(type(error).__name__) from error
        delivery_id = headers.get("x-oa-delivery", "")
        if not 0 < len(delivery_id) <= _PAGE:
            raise CallbackMalformedError("X-OA-Delivery")
        return [Hint(InstanceId(event.instance_id), delivery_id, signature)]


class _Callback(_Reply):
    instance_id: str = Field(alias="processInstanceId", min_length=1, max_length=64)


def _judged(reply: httpx.Response) -> SubmitResult:
    """A create's reply. A 500 of Flowable may be a mistake of ours or of its own: UNKNOWN."""
    if reply.status_code == httpx.codes.CREATED:
        try:
            begun = _Begun.model_validate_json(reply.content)
        except ValidationError:
            return SubmitResult(SubmitOutcome.UNKNOWN, detail=_words(reply))
        return SubmitResult(SubmitOutcome.ACCEPTED, InstanceId(begun.id))
    if reply.status_code in _LATER:
        return SubmitResult(SubmitOutcome.RETRY_LATER, detail=_words(reply))
    if reply.is_client_error and reply.status_code != httpx.codes.REQUEST_TIMEOUT:
        return SubmitResult(SubmitOutcome.REJECTED, detail=_words(reply))
    return SubmitResult(SubmitOutcome.UNKNOWN, detail=_words(reply))


def _decided(tasks: Sequence[_Task]) -> list[DecidedStep]:
    """What people decided; a task with a delete reason was taken away, not decided."""
    return [
        DecidedStep(
            decided_by=EmployeeId(task.text("completedBy") or task.assignee or ""),
            outcome=task.text("outcome"),
            opinion=task.text("opinion"),
            decided_at=task.end_time,
        )
        for task in tasks
        if task.end_time is not None and task.delete_reason is None
    ]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _words(reply: httpx.Response) -> str:
    """What the OA wrote, in one short line."""
    return f"{reply.status_code} {' '.join(reply.text.split())[:120]}"
