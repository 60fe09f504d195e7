"""The HTTP edge: every route authenticated, every body capped, every error a problem document."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from chassis import metrics
from chassis.auth import Verifier, authenticate, needs
from chassis.db import AWAY, Database
from chassis.problem import (
    BUSY,
    INTERNAL,
    NOT_FOUND,
    TOO_LARGE,
    Problem,
    Refusal,
    Refusals,
    Text,
    respond,
    respond_invalid,
)
from chassis.subscriptions import Subscription

log = structlog.get_logger()
_tracer = trace.get_tracer("tonglu.http")
# Ours names the span and carries the context; FastAPI's own would add three spans to each request
# and could put the text of an exception, and a person's data with it, into a log record.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


@dataclass(slots=True)
class Health:
    """What the probes say. Liveness looks at nothing but itself: the loop answers, so it turns."""

    started: bool = False
    draining: bool = False
    checks: dict[str, Callable[[], bool]] = field(default_factory=dict)


class _TooLarge(HTTPException):
    """The body went over the cap; an HTTPException, since FastAPI passes only those through."""

    def __init__(self) -> None:
        super().__init__(TOO_LARGE.status)


@dataclass(frozen=True, slots=True)
class _Edge:
    """Request id, trace, cap, metrics and one log line, around every request."""

    app: ASGIApp
    body_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"").decode("latin-1")[:64] or str(uuid7())
        scope.setdefault("state", {})["request_id"] = request_id
        watch = _Watch(receive, send, request_id, self.body_bytes)
        declared = headers.get(b"content-length", b"0")
        watch.over = declared.isdigit() and int(declared) > self.body_bytes
        started = time.perf_counter()
        with _tracer.start_as_current_span(
            f"{scope['method']} {scope['path']}",
            context=_caller(headers),
            kind=trace.SpanKind.SERVER,
        ):
            await self.app(scope, watch.receive, watch.send)
        _account(scope, watch.status, time.perf_counter() - started, request_id)


def _caller(headers: dict[bytes, bytes]) -> Context | None:
    """The trace that the caller is in, if it says so."""
    if b"traceparent" not in headers:
        return None
    said = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
    return propagate.extract(said)


@dataclass(slots=True)
class _Watch:
    inner_receive: Receive
    inner_send: Send
    request_id: str
    body_bytes: int
    read: int = 0
    status: int = 0
    over: bool = False

    async def receive(self) -> Message:
        message = await self.inner_receive()
        self.read += len(message.get("body", b""))
        if self.over or self.read > self.body_bytes:
            raise _TooLarge
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", self.request_id.encode("latin-1", "replace")),
            ]
        await self.inner_send(message)


def _account(scope: Scope, status: int, seconds: float, request_id: str) -> None:
    route = getattr(scope.get("route"), "path", "unmatched")
    metrics.HTTP_SECONDS.labels(scope["method"], route, str(status)).observe(seconds)
    if not route.startswith("/healthz"):
        log.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            request_id=request_id,
        )


async def _database(request: Request) -> Database:  # async: a sync one costs a thread
    database: Database = request.app.state.database
    return database


Db = Annotated[Database, Depends(_database)]


@dataclass(frozen=True, slots=True)
class Edge:
    """What an app is made of."""

    name: str
    database: Database
    verifier: Verifier
    routers: Sequence[APIRouter] = ()
    refusals: Refusals = field(default_factory=dict)
    body_bytes: int = 1_048_576
    health: Health = field(default_factory=Health)
    subscriptions: Sequence[Subscription] = ()  # what a redrive of parked events runs through
    public_routers: Sequence[APIRouter] = ()  # authenticate by other means: signed callbacks


def create_app(edge: Edge) -> FastAPI:
    """The service's HTTP face."""
    app = FastAPI(
        title=f"Tonglu {edge.name}",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        telemetry=_NO_TELEMETRY,
    )
    app.state.body_bytes, app.state.subscriptions = edge.body_bytes, edge.subscriptions
    app.state.groups = {}
    app.state.database, app.state.verifier, app.state.health = (
        edge.database,
        edge.verifier,
        edge.health,
    )
    for router in edge.routers:  # the first to be asked: most requests are for them
        app.include_router(router, dependencies=[Depends(authenticate)])
    for router in edge.public_routers:
        app.include_router(router)
    app.include_router(_health_routes(edge.health, edge.database))
    app.include_router(_machine_routes(app), dependencies=[Depends(authenticate)])
    _answer_errors(app, edge.refusals)
    app.add_middleware(_Edge, body_bytes=edge.body_bytes)
    return app


def _health_routes(health: Health, database: Database) -> APIRouter:
    router = APIRouter(prefix="/healthz", include_in_schema=False)

    @router.get("/live")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/startup")
    async def startup(response: Response) -> dict[str, Any]:
        waiting = [name for name, ok in health.checks.items() if not ok()]
        ready = health.started and not waiting
        response.status_code = 200 if ready else 503
        return {"status": "ok" if ready else "starting", "waiting": waiting}

    @router.get("/ready")
    async def ready(response: Response) -> dict[str, str]:
        if health.draining or not health.started:
            response.status_code = 503
            return {"status": "draining" if health.draining else "starting"}
        try:
            async with database.transaction() as tx:
                await tx.fetchval("SELECT 1")
        except (OSError, TimeoutError) as error:
            response.status_code = 503
            return {"status": f"database: {type(error).__name__}"}
        return {"status": "ok"}

    return router


def _machine_routes(app: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/metrics", dependencies=[needs("monitor", "admin")])
    async def metrics_page() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/openapi.json")
    async def openapi() -> dict[str, Any]:
        return app.openapi()

    return router


def _answer_errors(app: FastAPI, refusals: Refusals) -> None:
    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return respond(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return respond_invalid(request, error)

    @app.exception_handler(_TooLarge)
    async def too_large(request: Request, _error: _TooLarge) -> Response:
        limit = request.app.state.body_bytes
        return respond(request, Problem(TOO_LARGE, limit=limit))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == NOT_FOUND.status:
            return respond(request, Problem(NOT_FOUND))
        said = Refusal(error.status_code, "refused", Text("{said}", "{said}"))
        return respond(request, Problem(said, said=str(error.detail)))

    for away in AWAY:
        app.add_exception_handler(away, _busy)
    for kind, refusal in refusals.items():
        app.add_exception_handler(kind, _refuse(refusal))

    app.add_exception_handler(Exception, _internal)


async def _busy(request: Request, error: Exception) -> Response:
    log.warning("dependency away", error=type(error).__name__)
    return respond(request, Problem(BUSY))


async def _internal(request: Request, error: Exception) -> Response:
    log.error("request failed", exc_info=error, request_id=request.state.request_id)
    return respond(request, Problem(INTERNAL))


def _refuse(refusal: Refusal) -> Callable[[Request, Exception], Any]:
    async def answer(request: Request, error: Exception) -> Response:
        return respond(request, Problem(refusal, **vars(error)))

    return answer
