"""The inbox over HTTP: my tasks, decisions and verbs, and the road of one document."""

from collections.abc import Sequence
from typing import Annotated

from chassis import Tx
from chassis.auth import Me, needs
from chassis.http import Db
from chassis.idempotency import OncePerKey
from chassis.problem import NOT_FOUND, Problem, Refusal, language_of
from chassis.together import Asked, together
from events import EmployeeId, Money, TaskId
from events.workflow import Verb
from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct
from msgspec.json import Encoder
from pydantic import BaseModel

from workflow.approval import handlers, store
from workflow.approval.api.models import (
    ID,
    ActView,
    AddSignRequest,
    ApprovalView,
    BatchResult,
    CommentRequest,
    CopyRequest,
    DecideBatch,
    DecideRequest,
    DocumentIdInPath,
    HandRequest,
    InboxPage,
    RemoveSignRequest,
    ReturnToRequest,
    Standing,
    TaskIdInPath,
    TaskLook,
    TaskResult,
    TaskView,
    UrgeRequest,
)
from workflow.approval.api.refusals import REFUSALS
from workflow.approval.domain import TONGLU, Act, Task, Verdict, Waiting, done_steps

_SEE_ALL = ("finance", "auditor", "admin")
After = Annotated[str | None, Query(pattern=ID)]
Limit = Annotated[int, Query(ge=1, le=200)]
Revision = Annotated[int | None, Query(ge=1, le=1_000_000)]
router = APIRouter()


@router.get("/api/tasks", response_model=InboxPage)
async def my_tasks(me: Me, database: Db, limit: Limit = 50, after: After = None) -> Response:
    """My open tasks."""
    last = TaskId(after) if after is not None else None
    async with database.reading() as tx:
        return _page(await store.inbox(tx, EmployeeId(me.subject), last, limit + 1), limit)


@router.get("/api/tasks/administrator", dependencies=[needs("admin")], response_model=InboxPage)
async def tasks_in_trouble(database: Db, limit: Limit = 50, after: After = None) -> Response:
    """Open tasks that an administrator is asked, or that a leaver is still asked."""
    last = TaskId(after) if after is not None else None
    async with database.reading() as tx:
        return _page(await store.in_trouble(tx, last, limit + 1), limit)


@router.get("/api/tasks/{task_id}")
async def task(task_id: TaskIdInPath, me: Me, database: Db) -> TaskLook:
    """A task with what I may do about it now."""
    async with database.transaction() as tx:
        found = await handlers.look_at_task(
            tx, task_id, EmployeeId(me.subject), sees_all=me.has(*_SEE_ALL)
        )
    if found is None:
        raise Problem(NOT_FOUND)
    return TaskLook(
        task=TaskView.model_validate(found.task),
        document_id=found.approval.document_id,
        revision=found.approval.revision,
        title=found.approval.title,
        total=found.approval.total,
        details=list(found.approval.details),
        submitter_id=found.approval.submitter_id,
        content_hash=found.approval.content_hash,
        moves=list(found.moves),
        return_steps=list(done_steps(found.approval, found.task)),
    )


@router.post("/api/tasks/decide")
async def decide_many(asked: DecideBatch, me: Me, request: Request, once: OncePerKey) -> Response:
    """Decide many of my tasks in one call; each has its own result, and one refused stops none."""
    language = language_of(request)

    async def effect(tx: Tx) -> BatchResult:
        verdicts = [(TaskId(item.task_id), _verdict(item, me.subject, tx)) for item in asked.items]
        results = await handlers.decide_tasks(tx, verdicts)
        return BatchResult(
            items=[
                _result(item.task_id, result, language)
                for item, result in zip(asked.items, results, strict=True)
            ]
        )

    return await once(effect)


class _Decide(Struct, frozen=True):
    """One decision on its way into a transaction that others share."""

    task_id: TaskId
    asked: DecideRequest
    me: str


@router.post("/api/tasks/{task_id}/decide")
async def decide(task_id: TaskIdInPath, asked: DecideRequest, me: Me, once: OncePerKey) -> Response:
    """Approve, reject or return one of my tasks."""
    return await together(once, _decisions, _Decide(task_id, asked, me.subject))


async def _decisions(tx: Tx, group: Sequence[Asked[_Decide]]) -> list[BaseModel | Exception]:
    asked = [(one.ask.task_id, _verdict(one.ask.asked, one.ask.me, tx)) for one in group]
    origins = {one.ask.task_id: one.origin for one in group}
    results = await handlers.decide_tasks(tx, asked, origins)
    return [
        TaskView.model_validate(result)
        if isinstance(result, Task)
        else result or Problem(NOT_FOUND)
        for result in results
    ]


@router.post("/api/tasks/{task_id}/transfer")
async def transfer(task_id: TaskIdInPath, asked: HandRequest, me: Me, once: OncePerKey) -> Response:
    """转交: my task becomes another person's."""
    act = Act(EmployeeId(me.subject), (asked.to,), asked.text)
    return await _act(once, task_id, Verb.TRANSFER, act)


@router.post("/api/tasks/{task_id}/delegate")
async def delegate(task_id: TaskIdInPath, asked: HandRequest, me: Me, once: OncePerKey) -> Response:
    """委托: another person gives an opinion, then I am asked again."""
    act = Act(EmployeeId(me.subject), (asked.to,), asked.text)
    return await _act(once, task_id, Verb.DELEGATE, act)


@router.post("/api/tasks/{task_id}/add-sign")
async def add_sign(
    task_id: TaskIdInPath, asked: AddSignRequest, me: Me, once: OncePerKey
) -> Response:
    """加签: others must agree too, before or after me."""
    verb = Verb.ADD_SIGN_BEFORE if asked.when == "before" else Verb.ADD_SIGN_AFTER
    act = Act(EmployeeId(me.subject), tuple(asked.people), asked.text)
    return await _act(once, task_id, verb, act)


@router.post("/api/tasks/{task_id}/remove-sign")
async def remove_sign(
    task_id: TaskIdInPath, asked: RemoveSignRequest, me: Me, once: OncePerKey
) -> Response:
    """减签: those whom I added and who have not decided are asked no more."""
    act = Act(EmployeeId(me.subject), tuple(asked.people), asked.text)
    return await _act(once, task_id, Verb.REMOVE_SIGN, act)


@router.post("/api/tasks/{task_id}/return-to")
async def return_to(
    task_id: TaskIdInPath, asked: ReturnToRequest, me: Me, once: OncePerKey
) -> Response:
    """退回: an earlier step is asked anew."""
    act = Act(
        EmployeeId(me.subject),
        text=asked.text,
        to_step=asked.step,
        is_straight=asked.then == "back",
    )
    return await _act(once, task_id, Verb.RETURN_TO_STEP, act)


@router.post("/api/tasks/{task_id}/copy")
async def copy(task_id: TaskIdInPath, asked: CopyRequest, me: Me, once: OncePerKey) -> Response:
    """抄送: these people may read the approval."""
    act = Act(EmployeeId(me.subject), tuple(asked.to), asked.text)
    return await _act(once, task_id, Verb.COPY, act)


@router.post("/api/tasks/{task_id}/comment")
async def comment(
    task_id: TaskIdInPath, asked: CommentRequest, me: Me, once: OncePerKey
) -> Response:
    """评论: a word for everyone who takes part."""
    act = Act(EmployeeId(me.subject), text=asked.text)
    return await _act(once, task_id, Verb.COMMENT, act)


@router.post("/api/tasks/{task_id}/urge")
async def urge(task_id: TaskIdInPath, asked: UrgeRequest, me: Me, once: OncePerKey) -> Response:
    """催办: remind whoever has not decided, once an hour at most."""
    act = Act(EmployeeId(me.subject), text=asked.text)
    return await _act(once, task_id, Verb.URGE, act)


@router.get("/api/approvals/{document_id}")
async def approval(
    document_id: DocumentIdInPath,
    me: Me,
    database: Db,
    revision: Revision = None,
) -> ApprovalView:
    """Who was asked, who decided what, when, where, on which content; and what else was done.

    Of the last revision, or of the one that is asked for.
    """
    reader = None if me.has(*_SEE_ALL) else EmployeeId(me.subject)
    async with database.transaction() as tx:
        found = await store.of_document(tx, document_id, reader, revision)
        if found is None:
            raise Problem(NOT_FOUND)
        acts = await store.acts(tx, found.place)
    view = ApprovalView.model_validate(found)
    return view.model_copy(update={"acts": [ActView.model_validate(act) for act in acts]})


async def _act(once: OncePerKey, id_: TaskId, verb: Verb, act: Act) -> Response:
    async def effect(tx: Tx) -> Standing:
        after = await handlers.act_on_task(tx, id_, verb, act)
        if after is None:
            raise Problem(NOT_FOUND)
        return Standing.model_validate(after)

    return await once(effect)


def _verdict(asked: DecideRequest, me: str, tx: Tx) -> Verdict:
    return Verdict(
        decision=asked.decision,
        by=EmployeeId(me),
        via=TONGLU,
        content_hash=asked.content_hash,
        decided_at=tx.now,
        opinion=asked.opinion,
    )


def _result(id_: str, result: Task | handlers.Refused | None, language: str) -> TaskResult:
    if isinstance(result, Task):
        return TaskResult(task_id=id_, task=TaskView.model_validate(result))
    refusal: Refusal = NOT_FOUND if result is None else REFUSALS[type(result)]
    values = {} if result is None else vars(result)
    problem = {
        **values,
        "type": f"urn:tonglu:problem:{refusal.slug}",
        "title": refusal.slug.replace("-", " "),
        "status": refusal.status,
        "detail": refusal.text.say(language, values),
    }
    return TaskResult(task_id=id_, problem=problem)


def _page(found: Sequence[Waiting], limit: int) -> Response:
    """An InboxPage, written as it is: as a model each task would be checked and copied twice."""
    last = found[limit - 1].task_id if len(found) > limit else None
    page = {"items": found[:limit], "next": last}
    return Response(_JSON.encode(page), media_type="application/json")


def _written(value: object) -> object:
    if isinstance(value, Money):
        return {"amount": f"{value.amount:f}", "currency": value.currency}
    raise TypeError(f"no JSON for {type(value).__name__}")


_JSON = Encoder(enc_hook=_written)
