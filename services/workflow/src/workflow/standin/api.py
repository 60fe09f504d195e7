"""Stand-ins over HTTP: a person's own, and anyone's for an administrator or the OA's leave."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from chassis import Tx
from chassis.auth import Me, Principal
from chassis.http import Db
from chassis.idempotency import OncePerKey
from chassis.problem import FORBIDDEN, NOT_FOUND, Problem, Refusal, Text
from events import EmployeeId
from events.workflow import DocumentKind
from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from uuid_utils.compat import uuid7

from workflow.standin import handlers
from workflow.standin.domain import (
    PersonNotHere,
    Reason,
    StandInIsSelf,
    Window,
    WindowEmpty,
    WindowOver,
    WindowsOverlap,
)

REFUSALS: dict[type[Exception], Refusal] = {
    StandInIsSelf: Refusal(
        422,
        "stand-in-is-self",
        Text(
            "stand_in_id 不能是本人，请另选代理人。",
            "stand_in_id is the person who is away: name someone else.",
        ),
    ),
    WindowEmpty: Refusal(
        422,
        "window-empty",
        Text("ends_at 须晚于 begins_at，请改正。", "ends_at must be later than begins_at."),
    ),
    WindowOver: Refusal(
        422,
        "window-over",
        Text(
            "ends_at 已经过去（现在 {now}），请填将来的时间。",
            "ends_at has passed (it is {now}): send a time to come.",
        ),
    ),
    PersonNotHere: Refusal(
        422,
        "person-not-here",
        Text(
            "{person_id} 不在组织架构中或已离职，请另选在职人员。",
            "{person_id} is unknown or has left: name someone who works here.",
        ),
    ),
    WindowsOverlap: Refusal(
        409,
        "windows-overlap",
        Text(
            "{begins_at} 至 {ends_at} 已由 {stand_in_id} 代理同类单据（{window_id}）；"
            "请先取消它，或改用不重叠的时间。",
            "From {begins_at} to {ends_at} {stand_in_id} stands in for the same kind already"
            " ({window_id}): call that off first, or choose another time.",
        ),
    ),
}
_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_Instant = Annotated[
    AwareDatetime,
    Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC)),
]
_Person = Annotated[str, Field(pattern=_ID)]
_Kind = Literal[DocumentKind.CLAIM, DocumentKind.TRIP, DocumentKind.ADVANCE, DocumentKind.PAYMENT]
router = APIRouter(prefix="/api/stand-ins")


class WindowRequest(BaseModel):
    """Who stands in for whom, when, and for which documents."""

    model_config = ConfigDict(extra="forbid")

    person_id: _Person | None = Field(None, description="who is away; without it, I am")
    stand_in_id: _Person
    kinds: list[_Kind] | None = Field(
        None, min_length=1, max_length=len(DocumentKind), description="without it, all"
    )
    begins_at: _Instant = Field(description="included; may have passed")
    ends_at: _Instant = Field(description="excluded")
    reason: Reason = Reason.LEAVE


class WindowView(BaseModel):
    """A window of time in which one person's tasks go to another."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    person_id: EmployeeId
    stand_in_id: EmployeeId
    kinds: list[DocumentKind] | None
    begins_at: datetime
    ends_at: datetime
    reason: Reason
    created_by: str


class WindowList(BaseModel):
    """The next to end first."""

    items: list[WindowView]


@router.post("")
async def name_stand_in(asked: WindowRequest, me: Me, once: OncePerKey) -> Response:
    """Name a stand-in. What is open when the window begins moves as well."""
    window = Window(
        id=str(uuid7()),
        person_id=_whose(me, asked.person_id),
        stand_in_id=EmployeeId(asked.stand_in_id),
        kinds=tuple(sorted(set(asked.kinds))) if asked.kinds is not None else None,
        begins_at=asked.begins_at.astimezone(UTC),
        ends_at=asked.ends_at.astimezone(UTC),
        reason=asked.reason,
        created_by=me.subject,
    )

    async def effect(tx: Tx) -> WindowView:
        await handlers.add_window(tx, window)
        return WindowView.model_validate(window)

    return await once(effect, status=201)


@router.get("")
async def stand_ins(
    me: Me, database: Db, person_id: Annotated[str | None, Query(pattern=_ID)] = None
) -> WindowList:
    """The windows not over yet in which I am away or stand in; an administrator may ask of all."""
    async with database.transaction() as tx:
        found = await handlers.windows_of(tx, _whose(me, person_id))
    return WindowList(items=[WindowView.model_validate(window) for window in found])


@router.delete("/{window_id}", status_code=204)
async def call_off(
    window_id: Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")], me: Me, database: Db
) -> None:
    """Call a window off. Tasks that were moved stay with the stand-in."""
    person = None if me.has("admin") else EmployeeId(me.subject)
    async with database.transaction() as tx:
        if not await handlers.cancel_window(tx, window_id, person, me.subject):
            raise Problem(NOT_FOUND)


def _whose(me: Principal, asked: str | None) -> EmployeeId:
    if asked not in (None, me.subject) and not me.has("admin"):
        raise Problem(FORBIDDEN, roles="admin")
    return EmployeeId(asked or me.subject)
