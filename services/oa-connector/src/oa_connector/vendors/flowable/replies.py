"""What Flowable answers, read strictly where a decision hangs on it, and turned into our words."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from events import ContentHash, InstanceId
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from oa_connector.domain import Accounts, DecidedStep, Instance, Snapshot, Status

_NEVER = datetime.max.replace(tzinfo=UTC)
_ENDS = {"approved": Status.APPROVED, "rejected": Status.REJECTED, "returned": Status.RETURNED}


class ReplyModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Variable(ReplyModel):
    name: str
    value: Any = None


class _Variables(ReplyModel):
    variables: tuple[_Variable, ...] = ()

    def text(self, name: str) -> str | None:
        """The value of this variable where it is a text."""
        found = next((one.value for one in self.variables if one.name == name), None)
        return found if isinstance(found, str) else None


class Begun(ReplyModel):
    id: str = Field(min_length=1)


class Process(_Variables):
    id: str = Field(min_length=1)
    definition_id: str = Field("", alias="processDefinitionId")
    business_key: str | None = Field(None, alias="businessKey")
    start_time: AwareDatetime | None = Field(None, alias="startTime")
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

    @property
    def listed(self) -> Instance:
        content_hash = self.text("contentHash")
        return Instance(
            instance_id=InstanceId(self.id),
            content_hash=ContentHash(content_hash) if content_hash else None,
            is_open=self.status is Status.PENDING,
            business_key=self.business_key,
            created_at=self.start_time,
            changed_at=self.end_time or self.start_time,
        )


class Task(_Variables):
    id: str = ""
    assignee: str | None = None
    process_id: str | None = Field(None, alias="processInstanceId")
    start_time: AwareDatetime | None = Field(None, alias="startTime")
    end_time: AwareDatetime | None = Field(None, alias="endTime")
    delete_reason: str | None = Field(None, alias="deleteReason")

    @property
    def is_decided(self) -> bool:
        """A task with a delete reason was taken away, not decided."""
        return self.end_time is not None and self.delete_reason is None


class Processes(ReplyModel):
    total: int
    data: tuple[Process, ...]


class Tasks(ReplyModel):
    total: int
    data: tuple[Task, ...]

    @property
    def decided(self) -> list[Task]:
        """In the order in which people decided: of tasks that began together one may wait long."""
        done = [one for one in self.data if one.is_decided]
        return sorted(done, key=lambda one: one.end_time or _NEVER)


class Users(ReplyModel):
    total: int


class Engine(ReplyModel):
    version: str


class Definition(ReplyModel):
    id: str
    version: int
    resource: str


class Definitions(ReplyModel):
    data: tuple[Definition, ...]


def snapshot(process: Process, tasks: Tasks, accounts: Accounts) -> Snapshot:
    """The whole process with what people decided in it.

    A task for a group names nobody until one of it takes it: nobody waits alone.
    """
    content_hash = process.text("contentHash")
    open_tasks = [one for one in tasks.data if one.end_time is None and one.assignee]
    return Snapshot(
        status=process.status,
        content_hash=ContentHash(content_hash) if content_hash else None,
        steps=tuple(_decided(one, accounts) for one in tasks.decided),
        ended_at=process.end_time,
        version=_version(process, tasks.data),
        amount=_amount(process.text("amount")),
        waiting=tuple(accounts.from_oa(one.assignee or "") for one in open_tasks),
    )


def _decided(task: Task, accounts: Accounts) -> DecidedStep:
    assert task.end_time is not None  # noqa: S101 -- see Task.is_decided
    return DecidedStep(
        decided_by=accounts.from_oa(task.text("completedBy") or task.assignee or ""),
        outcome=task.text("outcome"),
        opinion=task.text("opinion"),
        decided_at=task.end_time,
        step_id=task.id,
    )


def _version(process: Process, tasks: Sequence[Task]) -> tuple[int, ...]:
    """The newest moment of it in microseconds; then how much has ended by then."""
    times = [process.start_time, process.end_time]
    times += [one.start_time for one in tasks] + [one.end_time for one in tasks]
    ended = sum(one.end_time is not None for one in tasks) + (process.end_time is not None)
    return (max((_micros(one) for one in _given(times)), default=0), ended)


def _given(times: Iterable[datetime | None]) -> list[datetime]:
    return [one for one in times if one is not None]


def _micros(time: datetime) -> int:
    return int(time.timestamp()) * 1_000_000 + time.microsecond


def _amount(text: str | None) -> Decimal | None:
    """Another word than a number is another amount than ours: it never compares as equal."""
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        return Decimal("NaN")
