"""An ApprovalPort by a profile, whatever the transport: it sends the calls and reads answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from events import InstanceId

from oa_connector.domain import (
    Ability,
    Capabilities,
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
from oa_connector.vendors.channel import Channel
from oa_connector.vendors.people import People
from oa_connector.vendors.profile.model import Call, Listing, ProfileBase, Steps
from oa_connector.vendors.profile.reading import Reply, Verdict, values_at
from oa_connector.vendors.profile.sight import Item, Reader, SeenStep, fingerprint
from oa_connector.vendors.profile.writing import UnsendableError, Values

C = TypeVar("C", bound=Call)

Send = Callable[[C, Values], Awaitable[Reply]]
_MOST_PAGES = 50
_ERRORS = 400  # statuses of HTTP from here on
_NOT_TAKEN = {401, 403, 429, 503}
_OUTCOMES = {
    Verdict.REFUSED: SubmitOutcome.REJECTED,
    Verdict.RETRY: SubmitOutcome.RETRY_LATER,
    Verdict.UNKNOWN: SubmitOutcome.UNKNOWN,
}


class ProfiledOA(Generic[C]):
    """One OA as its profile describes it; `send` makes one call of the transport."""

    def __init__(
        self, profile: ProfileBase[C], channel: Channel, send: Send[C], reader: Reader
    ) -> None:
        self._profile = profile
        self._channel = channel
        self._send = send
        self._reader = reader
        self._people = People(reader.accounts, self._knows, channel.limits.people)

    @property
    def capabilities(self) -> Capabilities:
        profile = self._profile
        sights = {
            Sight.PUSH: profile.callback,
            Sight.POLL_ONE: profile.fetch,
            Sight.POLL_CREATED_SINCE: profile.scan.created,
            Sight.POLL_CHANGED_SINCE: profile.scan.changed,
        }
        return Capabilities(
            idempotency=profile.idempotency,
            sights=frozenset(sight for sight, part in sights.items() if part is not None),
            withdraw=Ability.API if profile.withdraw else profile.withdraw_by,
            comment=Ability.API if profile.comment else Ability.NONE,
            profile=profile.name,
            push_signed=profile.callback is not None and profile.callback.verify.kind == "hmac",
            calls_per_minute=self._channel.limits.calls_per_minute,
            burst=self._channel.limits.burst,
        )

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
        probe = self._profile.probe
        reply = await self._ask(probe.call, {})
        version = probe.version.one(reply.body, reply.headers)
        version = None if version is None else version[:LONGEST_VERSION]
        templates = self._profile.templates.items()
        forms = {kind: await self._form(template) for kind, template in templates}
        try:
            is_known = version is not None and probe.known.holds(version)
        except ValueError:
            is_known = False
        detail = "" if is_known else f"{version} is not a version that {self._profile.name} knows"
        return ProbeReport(
            version=version,
            profile=self._profile.name,
            is_degraded=not is_known,
            detail=detail,
            forms={kind: mark for kind, mark in forms.items() if mark},
        )

    async def submit(self, command: SubmitApproval) -> SubmitResult:
        if refusal := await self._people.refusal(command.form.approvers):
            return refusal
        try:
            reply = await self._send(self._profile.create.call, self._form_values(command))
        except NotSentError as error:
            return SubmitResult(SubmitOutcome.RETRY_LATER, detail=error.told)
        except UnsendableError as error:
            return SubmitResult(SubmitOutcome.REJECTED, detail=str(error))
        except OAError as error:
            return SubmitResult(SubmitOutcome.UNKNOWN, detail=error.told)
        return self._judged(reply)

    async def resolve(self, business_key: str) -> Sequence[Instance]:
        listing = self._profile.resolve
        if listing is None:
            raise OAError(f"{self._profile.name} cannot look up a business key")
        found: list[Instance] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await self._page("resolve", listing, {"business_key": business_key}, cursor)
            found.extend(page.instances)
            if page.next is None:
                where = f"resolve: process.business_key ({self._profile.process.business_key})"
                return of_key(business_key, found, where)
            cursor = page.next
        raise ContractError(f"more than {_MOST_PAGES} pages under one business key")

    async def fetch(self, instance_id: InstanceId) -> Snapshot:
        found = await self._read(instance_id)
        if found is None:
            return Snapshot(Status.VANISHED)
        return await self._people.checked(self._reader.snapshot(*found))

    async def scan(self, by: Sight, window: Window, cursor: str | None = None) -> Page:
        scans = self._profile.scan
        place, listing = {
            Sight.POLL_CREATED_SINCE: ("scan.created", scans.created),
            Sight.POLL_CHANGED_SINCE: ("scan.changed", scans.changed),
        }.get(by, ("", None))
        if listing is None:
            raise OAError(f"{self._profile.name} has no scan by {by}")
        values = {"begins": self._written(window.begins), "ends": self._written(window.ends)}
        return await self._page(place, listing, values, cursor)

    async def withdraw(self, instance_id: InstanceId, reason: str) -> Snapshot:
        values = {"instance_id": str(instance_id), "reason": reason}
        for withdrawal in self._profile.withdraw:
            for more in await self._asked(withdrawal.per, instance_id):
                # Its answer proves nothing either way: what the OA shows afterwards counts.
                await self._sent(withdrawal.call, {**values, **more})
        return await self.fetch(instance_id)

    async def comment(self, instance_id: InstanceId, text: str) -> None:
        if self._profile.comment is None:
            raise OAError(f"{self._profile.name} has no comments")
        await self._ask(self._profile.comment, {"instance_id": str(instance_id), "text": text})

    async def close(self) -> None:
        await self._channel.close()

    def _judged(self, reply: Reply) -> SubmitResult:
        create = self._profile.create
        verdict = create.call.judge(reply)
        if verdict is not Verdict.ACCEPTED:
            return SubmitResult(_OUTCOMES[verdict], detail=str(reply))
        found = create.instance_id.one(reply.body, reply.headers)
        if found is None:
            return SubmitResult(SubmitOutcome.UNKNOWN, detail=str(reply))
        return SubmitResult(SubmitOutcome.ACCEPTED, InstanceId(found))

    async def _knows(self, account: str) -> bool | None:
        check = self._profile.people
        if check is None:
            return None
        try:
            return check.says(await self._send(check.call, {"person": account}))
        except UnsendableError:
            return None  # a name that its search has no words for

    async def _form(self, template: str) -> str | None:
        form = self._profile.form
        if form is None:
            return None
        reply = await self._ask(form.call, {"template": template})
        return fingerprint([values_at(path, reply.body) for path in form.parts])

    def _form_values(self, command: SubmitApproval) -> Values:
        form, template = command.form, self._profile.templates.get(command.template)
        if template is None:
            raise UnsendableError(f"{self._profile.name} has no template for {command.template}")
        url = self._profile.claim_url.replace("{document_id}", command.document_id)
        return {
            "business_key": command.business_key,
            "document_id": command.document_id,
            "template": template,
            "content_hash": command.content_hash,
            "attempt": str(command.attempt),
            "title": form.title,
            "amount": form.amount,
            "currency": form.currency,
            "submitter": self._reader.accounts.to_oa(form.submitter_id),
            "approvers": tuple(self._reader.accounts.to_oa(one) for one in form.approvers),
            "details": form.details,
            "claim_url": url,
        }

    async def _page(
        self, place: str, listing: Listing[C], values: Mapping[str, str], cursor: str | None
    ) -> Page:
        reply = await self._ask(
            listing.call, {**values, "cursor": listing.first if cursor is None else cursor}
        )
        items = values_at(listing.each, reply.body)
        if not items and not listing.has_none(reply):
            # A 200 that says "busy" must neither create again nor move the mark of a scan.
            raise ContractError(f"{place}: an answer without the list of processes", str(reply))
        following = listing.next.one(reply.body, reply.headers) if listing.next else None
        if len(items) < listing.page_size:
            following = None
        elif following is None:
            raise ContractError(f"{len(items)} processes in one answer: there may be more")
        return Page(tuple(self._reader.instance(item, place) for item in items), following)

    async def _read(self, instance_id: InstanceId) -> tuple[Item, list[SeenStep]] | None:
        """A process and its steps; None: the OA knows it no more."""
        # The process first: steps that are read after an end that was seen are all there.
        fetch, values = self._profile.fetch, {"instance_id": str(instance_id)}
        reply = await self._sent(fetch.call, values)
        if fetch.is_gone(reply):
            return None
        self._demand(fetch.call, reply)
        process = self._reader.process(reply)
        return process, await self._steps(process, values)

    async def _steps(self, process: Item, values: Mapping[str, str]) -> list[SeenStep]:
        steps = self._profile.steps
        if steps is None:
            return []
        item = process
        if steps.call is not None:
            reply = await self._ask(steps.call, values)
            item = Item(reply.body, reply.headers)
        found = values_at(steps.each, item.body)
        if steps.total is not None and steps.total.one(item.body) != str(len(found)):
            raise ContractError(f"{len(found)} steps shown, not all there are")
        return [await self._step(steps, one, values) for one in found]

    async def _step(self, steps: Steps[C], body: Any, values: Mapping[str, str]) -> SeenStep:
        """One step; only a decided one is worth the further calls."""
        read = self._reader.step(steps, body)
        if not read.is_decided:
            return read
        more: dict[str, str] = {**values, "step_id": read.step_id}
        for detail in steps.details:
            if "note_id" in more or not detail.call.needs("note_id"):
                reply = await self._ask(detail.call, more)
                read = read.detailed(detail, Item(reply.body, reply.headers), self._reader.zone)
                note_id = detail.note_id.one(reply.body, reply.headers) if detail.note_id else None
                more |= {"note_id": note_id} if note_id else {}
        return read

    async def _asked(self, per: str, instance_id: InstanceId) -> list[dict[str, str]]:
        """What a withdrawal is sent for: once, or each step that is asked now."""
        if per == "process":
            return [{}]
        found = await self._read(instance_id)
        steps = [] if found is None else found[1]
        return [{"step_id": one.step_id} for one in steps if one.word == "asked"]

    async def _ask(self, call: C, values: Mapping[str, str]) -> Reply:
        reply = await self._sent(call, values)
        self._demand(call, reply)
        return reply

    async def _sent(self, call: C, values: Mapping[str, str]) -> Reply:
        try:
            return await self._send(call, values)
        except UnsendableError as error:
            raise RefusedError("it cannot be sent", str(error)) from error

    def _demand(self, call: C, reply: Reply) -> None:
        """Go on with an accepted answer only.

        One that is no data (a page of a proxy) or an error of HTTP is trouble; another that the
        profile does not describe is a changed contract.
        """
        verdict = call.judge(reply)
        if verdict is Verdict.ACCEPTED and reply.body is not None:
            return
        if verdict is Verdict.UNKNOWN and reply.body is not None and reply.status < _ERRORS:
            raise ContractError("an answer that the profile does not know", str(reply))
        if verdict is Verdict.REFUSED:
            raise RefusedError(str(reply.status), reply.words)
        is_later = verdict is Verdict.RETRY or reply.status in _NOT_TAKEN
        raise (NotTakenError if is_later else OAError)(str(reply.status), reply.words)

    def _written(self, time: datetime) -> str:
        return time.astimezone(self._reader.zone).strftime(self._profile.clock.format)
