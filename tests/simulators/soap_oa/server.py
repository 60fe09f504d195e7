"""An OA with a SOAP 1.1 interface, as on-premise OAs have: a workflow service behind WS-Security.

It shares no code with the adapter that it tries. `/soap` is for machines, with `?wsdl`; `/people`
stands for the OA's own pages: JSON posts by which people decide, take back, delete and change.
"""

import argparse
import hashlib
import hmac
import itertools
import json
import socketserver
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from security import Guard
from spyne import (
    Application,
    Array,
    ComplexModel,
    DateTime,
    Fault,
    Integer,
    ServiceBase,
    Unicode,
    rpc,
)
from spyne.protocol.soap import Soap11
from spyne.server.wsgi import WsgiApplication

NAMESPACE = "urn:example:workflow"
RESULTS = {"approve": "同意", "reject": "不同意", "return": "退回"}
ENDS = {"同意": "已归档", "不同意": "已驳回", "退回": "已退回"}


class Field(ComplexModel):
    __namespace__ = NAMESPACE
    name = Unicode
    value = Unicode


class Node(ComplexModel):
    __namespace__ = NAMESPACE
    nodeId = Unicode  # noqa: N815 -- the names of the OA
    operator = Unicode
    result = Unicode
    remark = Unicode
    operateTime = DateTime  # noqa: N815


class Workflow(ComplexModel):
    __namespace__ = NAMESPACE
    requestId = Unicode  # noqa: N815
    requestKey = Unicode  # noqa: N815
    status = Unicode
    createTime = DateTime  # noqa: N815
    lastOperateTime = DateTime  # noqa: N815
    endTime = DateTime  # noqa: N815
    revision = Integer
    fields = Array(Field)
    nodes = Array(Node)


class WorkflowRequest(ComplexModel):
    __namespace__ = NAMESPACE
    workflowType = Unicode  # noqa: N815
    requestKey = Unicode  # noqa: N815
    title = Unicode
    applicant = Unicode
    approvers = Array(Unicode)
    fields = Array(Field)


@dataclass
class Step:
    operator: str
    result: str  # 待办, 未到, 同意, 不同意, 退回
    remark: str = ""
    at: datetime | None = None


@dataclass
class Request:
    id: int
    key: str
    title: str
    fields: dict[str, str]
    steps: list[Step]
    created: datetime
    changed: datetime
    status: str = "审批中"
    ended: datetime | None = None
    revision: int = 1
    remarks: list[str] = field(default_factory=list)


class OA:
    """Everything that the OA knows, behind one lock."""

    def __init__(self, accounts: dict[str, str], callback: str, secret: str) -> None:
        self.guard = Guard(accounts)
        self.callback = callback
        self.secret = secret
        self.lock = threading.RLock()
        self.requests: dict[int, Request] = {}
        self.numbers = itertools.count(1000)  # one that was deleted is not given again
        self.delay = 0.0  # seconds between what it does and what it says
        self.form = ["documentId", "contentHash", "amount", "currency", "details", "claimUrl"]
        self.people = {"chen", "zhou", "lin"}

    def create(self, asked: WorkflowRequest) -> Request:
        approvers = list(asked.approvers or [])
        strangers = [one for one in approvers if one not in self.people]
        if asked.workflowType != "EXPENSE" or not approvers or strangers:
            raise Fault("Client.Refused", f"流程类型或审批人有误 {asked.workflowType} {strangers}")
        given = {one.name: one.value or "" for one in asked.fields or []}
        kept = {name: given.get(name, "") for name in self.form}  # what it does not know is dropped
        steps = [Step(who, "待办" if n == 0 else "未到") for n, who in enumerate(approvers)]
        now = datetime.now(UTC)
        with self.lock:
            id_ = next(self.numbers)
            self.requests[id_] = Request(
                id_, asked.requestKey or "", asked.title or "", kept, steps, now, now
            )
            self.changed(self.requests[id_], "create")
            return self.requests[id_]

    def get(self, id_: str | int) -> Request:
        found = self.requests.get(int(id_)) if str(id_).isdecimal() else None
        if found is None:
            raise Fault("Client.NotFound", "没有这个流程")
        return found

    def decide(self, id_: int, who: str, result: str, remark: str) -> None:
        with self.lock:
            request = self.get(id_)
            step = next((one for one in request.steps if one.result == "待办"), None)
            if request.status != "审批中" or step is None or step.operator != who:
                raise Fault("Client.Refused", "没有这项待办")
            step.result, step.remark, step.at = result, remark, datetime.now(UTC)
            following = next((one for one in request.steps if one.result == "未到"), None)
            if result == "同意" and following is not None:
                following.result = "待办"
            else:
                self.end(request, ENDS[result])
            self.changed(request, "decide")

    def withdraw(self, id_: int, remark: str) -> str:
        with self.lock:
            request = self.get(id_)
            if request.status != "审批中":
                return f"refused: 流程{request.status}"
            self.end(request, "已撤销")
            request.remarks.append(remark)
            self.changed(request, "withdraw")
            return "ok"

    def end(self, request: Request, status: str) -> None:
        request.status, request.ended = status, datetime.now(UTC)
        for step in request.steps:
            if step.result in {"待办", "未到"}:
                step.result = "已取消"

    def take_back(self, id_: int) -> None:
        with self.lock:
            request = self.get(id_)
            request.status, request.ended = "审批中", None
            request.steps[-1] = Step(request.steps[-1].operator, "待办")
            self.changed(request, "takeback")

    def changed(self, request: Request, event: str) -> None:
        request.changed = datetime.now(UTC)
        request.revision += 1
        if self.callback:
            told = {"requestId": str(request.id), "event": event, "deliveryId": uuid.uuid4().hex}
            threading.Thread(target=self.call_back, args=(told,), daemon=True).start()

    def call_back(self, told: dict[str, str]) -> None:
        """Once, as the OAs of the market do; what does not arrive is lost."""
        body, at = json.dumps(told).encode(), str(int(time.time()))
        signed = hmac.new(self.secret.encode(), at.encode() + b"." + body, hashlib.sha256)
        headers = {"X-OA-Timestamp": at, "X-OA-Signature": signed.hexdigest()}
        opened = urllib.request.Request(self.callback, body, headers)  # noqa: S310 -- given by the test
        try:
            urllib.request.urlopen(opened, timeout=5).close()  # noqa: S310
        except OSError as error:
            sys.stderr.write(f"callback lost: {error}\n")


def shown(request: Request, *, whole: bool) -> Workflow:
    nodes = [
        Node(
            nodeId=f"{request.id}-{n}",
            operator=one.operator,
            result=one.result,
            remark=one.remark,
            operateTime=one.at,
        )
        for n, one in enumerate(request.steps)
    ]
    return Workflow(
        requestId=str(request.id),
        requestKey=request.key,
        status=request.status,
        createTime=request.created,
        lastOperateTime=request.changed,
        endTime=request.ended,
        revision=request.revision,
        fields=[Field(name=name, value=value) for name, value in request.fields.items()],
        nodes=nodes if whole else [],
    )


def service(oa: OA, version: str) -> type[ServiceBase]:  # noqa: C901 -- one short method each
    """What machines may ask."""

    class WorkflowService(ServiceBase):
        @rpc(WorkflowRequest, _returns=Unicode)
        def doCreateWorkflowRequest(self, request: WorkflowRequest) -> str:  # noqa: N802
            """JSON in a string, as such services like to answer."""
            return json.dumps({"code": 0, "data": {"requestId": str(oa.create(request).id)}})

        @rpc(Unicode, _returns=Workflow)
        def getWorkflowRequest(self, requestId: str) -> Workflow:  # noqa: N802, N803
            with oa.lock:
                return shown(oa.get(requestId), whole=True)

        @rpc(Unicode, Integer, Integer, _returns=Array(Workflow))
        def findByKey(self, requestKey: str, afterId: int, pageSize: int) -> list[Workflow]:  # noqa: N802, N803
            return _page(oa, lambda one: one.key == requestKey, afterId, pageSize)

        @rpc(DateTime, DateTime, Integer, Integer, _returns=Array(Workflow))
        def listCreated(  # noqa: N802
            self,
            begins: datetime,
            ends: datetime,
            afterId: int,  # noqa: N803
            pageSize: int,  # noqa: N803
        ) -> list[Workflow]:
            return _page(oa, lambda one: begins <= one.created <= ends, afterId, pageSize)

        @rpc(DateTime, DateTime, Integer, Integer, _returns=Array(Workflow))
        def listChanged(  # noqa: N802
            self,
            begins: datetime,
            ends: datetime,
            afterId: int,  # noqa: N803
            pageSize: int,  # noqa: N803
        ) -> list[Workflow]:
            return _page(oa, lambda one: begins <= one.changed <= ends, afterId, pageSize)

        @rpc(Unicode, Unicode, _returns=Unicode)
        def withdrawRequest(self, requestId: str, remark: str) -> str:  # noqa: N802, N803
            return oa.withdraw(int(requestId), remark)

        @rpc(Unicode, Unicode, _returns=Unicode)
        def addRemark(self, requestId: str, text: str) -> str:  # noqa: N802, N803
            with oa.lock:
                oa.get(requestId).remarks.append(text)
            return "ok"

        @rpc(_returns=Unicode)
        def getVersion(self) -> str:  # noqa: N802
            return version

        @rpc(Unicode, _returns=Array(Unicode))
        def getForm(self, workflowType: str) -> list[str]:  # noqa: N802, N803
            if workflowType != "EXPENSE":
                raise Fault("Client.NotFound", "没有这种流程")
            return list(oa.form)

    WorkflowService.event_manager.add_listener(
        "method_call", lambda ctx: oa.guard.check(_header(ctx.in_document))
    )
    return WorkflowService


def _header(envelope: Any) -> Any:
    return envelope.find("{http://schemas.xmlsoap.org/soap/envelope/}Header")


def _page(
    oa: OA, wanted: Callable[[Request], bool], after: int | None, size: int | None
) -> list[Workflow]:
    with oa.lock:
        found = [one for one in oa.requests.values() if one.id > (after or 0) and wanted(one)]
        return [shown(one, whole=False) for one in found[: size or 50]]


def people(oa: OA, told: dict[str, Any]) -> Any:
    """What people do on the OA's own pages."""
    match told:
        case {"do": "decide", "id": id_, "who": who, "outcome": outcome, "opinion": opinion}:
            return oa.decide(int(id_), who, RESULTS[outcome], opinion)
        case {"do": "take_back", "id": id_}:
            return oa.take_back(int(id_))
        case {"do": "remarks", "id": id_}:
            return oa.get(id_).remarks
        case _:
            return administrators(oa, told)


def administrators(oa: OA, told: dict[str, Any]) -> None:
    """What those do who look after the OA, for good or ill."""
    with oa.lock:
        match told:
            case {"do": "delete", "id": id_}:
                oa.requests.pop(int(id_))
            case {"do": "change", "id": id_, "field": name, "value": value}:
                oa.get(id_).fields[name] = value
                oa.changed(oa.get(id_), "change")
            case {"do": "form", "fields": fields}:
                oa.form = fields
            case {"do": "password", "user": user, "password": password}:
                oa.guard.accounts = {user: password}
            case {"do": "delay", "seconds": seconds}:
                oa.delay = seconds
            case _:
                raise Fault("Client.Refused", f"cannot: {told}")


Start = Callable[[str, list[tuple[str, str]]], Any]


def application(oa: OA, version: str) -> Callable[[dict[str, Any], Start], Iterable[bytes]]:
    soap = WsgiApplication(
        Application(
            [service(oa, version)],
            NAMESPACE,
            in_protocol=Soap11(validator="lxml"),
            out_protocol=Soap11(),
        )
    )

    def answer(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/people":
            answered = list(soap(environ, start))
            time.sleep(oa.delay)
            return answered
        told = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0)))
        try:
            said, status = people(oa, told), "200 OK"
        except Fault as fault:
            said, status = fault.faultstring, "409 Conflict"
        start(status, [("Content-Type", "application/json")])
        return [json.dumps(said).encode()]

    return answer


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """The log is for faults."""


def main() -> None:
    told = argparse.ArgumentParser()
    told.add_argument("--port", type=int, required=True)
    told.add_argument("--user", required=True)
    told.add_argument("--password", required=True)
    told.add_argument("--callback", default="")
    told.add_argument("--secret", default="")
    told.add_argument("--version", default="9.00.2312.01")
    given = told.parse_args()
    oa = OA({given.user: given.password}, given.callback, given.secret)
    server = _Server(("127.0.0.1", given.port), _Quiet)
    server.set_app(application(oa, given.version))
    server.serve_forever()


if __name__ == "__main__":
    main()
