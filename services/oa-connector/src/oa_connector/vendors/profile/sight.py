"""What the answers show of a process and its steps: pure, and never more hopeful than they are."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from events import ContentHash, InstanceId

from oa_connector.domain import Accounts, DecidedStep, Instance, Snapshot, Status
from oa_connector.vendors import ContractError
from oa_connector.vendors.profile.model import Detail, ProfileBase, Steps
from oa_connector.vendors.profile.reading import Extractor, Reply, moment, money, values_at
from oa_connector.vendors.secrets import Secrets, secret

_DECIDED = {"approve", "reject", "return"}


@dataclass(frozen=True, slots=True)
class Item:
    """Something to read fields from: the body of an answer, or one item of a list."""

    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    def text(self, where: Extractor | None) -> str | None:
        return None if where is None else where.one(self.body, self.headers)

    def needed(self, where: Extractor, field: str) -> str:
        """Raises: ContractError, when it is not there."""
        found = self.text(where)
        if found is None:
            raise ContractError(f"{field} ({where}) finds nothing")
        return found

    def time(self, where: Extractor | None, zone: tzinfo) -> datetime | None:
        found = self.text(where)
        return None if found is None else moment(found, zone)


@dataclass(frozen=True, slots=True)
class SeenStep:
    """One step as the OA shows it; `word` is ours, None when the OA's word is not known."""

    step_id: str
    word: str | None
    person: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    opinion: str | None = None
    changed_at: datetime | None = None

    @property
    def is_decided(self) -> bool:
        return self.word in _DECIDED

    def detailed(self, detail: Detail[Any], item: Item, zone: tzinfo) -> "SeenStep":
        """The step with what a further call says of it."""
        return replace(
            self,
            decided_by=item.text(detail.decided_by) or self.decided_by,
            decided_at=item.time(detail.decided_at, zone) or self.decided_at,
            opinion=item.text(detail.opinion) or self.opinion,
        )


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads by one profile. `secrets` says who we are in the OA, where the profile names it."""

    profile: ProfileBase[Any]
    accounts: Accounts
    secrets: Secrets

    @property
    def zone(self) -> tzinfo:
        return ZoneInfo(self.profile.clock.zone)

    def process(self, reply: Reply) -> Item:
        """What `fetch` has read. Its status may be an unknown word, its id be left out; not both.

        Raises:
            ContractError: no process stands in the answer.
        """
        at, where = self.profile.fetch.at, self.profile.process
        found = [one for one in values_at(at, reply.body) if one is not None]
        if len(found) != 1:
            raise ContractError(f"fetch: at ({at}) finds {len(found) or 'nothing'}", str(reply))
        item = Item(found[0], reply.headers)
        if item.text(where.status) is None:
            item.needed(where.instance_id, "fetch: process.instance_id")
        return item

    def instance(self, body: Any, place: str) -> Instance:
        """One item of a list of processes; `place` is the call that it came from."""
        item, where = Item(body), self.profile.process
        content_hash = item.text(where.content_hash)
        return Instance(
            instance_id=InstanceId(item.needed(where.instance_id, f"{place}: process.instance_id")),
            content_hash=ContentHash(content_hash) if content_hash else None,
            is_open=self._word(item) is Status.PENDING,
            business_key=item.text(where.business_key),
            created_at=item.time(where.created_at, self.zone),
            changed_at=item.time(where.changed_at, self.zone),
        )

    def step(self, steps: Steps[Any], body: Any) -> SeenStep:
        item = Item(body)
        return SeenStep(
            step_id=item.needed(steps.step_id, "steps.step_id"),
            word=steps.words.get(item.text(steps.status) or ""),
            person=item.text(steps.person),
            decided_by=item.text(steps.decided_by),
            decided_at=item.time(steps.decided_at, self.zone),
            opinion=item.text(steps.opinion),
            changed_at=item.time(steps.changed_at, self.zone),
        )

    def snapshot(self, item: Item, steps: Sequence[SeenStep]) -> Snapshot:
        """The whole process. Its own steps that we ended ourselves are no decisions.

        Decisions stand in the order in which they were made, those of one moment in the OA's: a
        step that was asked together with others may be decided long after them.
        """
        where = self.profile.process
        content_hash, amount = item.text(where.content_hash), item.text(where.amount)
        theirs = [one for one in steps if one.is_decided and not self._is_ours(one)]
        status = self._status(item, steps)
        ended_at = item.time(where.ended_at, self.zone)
        if ended_at is None and status is not Status.PENDING:
            ended_at = max((one.decided_at for one in steps if one.decided_at), default=None)
        waiting = [one.person for one in steps if one.word == "asked" and one.person]
        return Snapshot(
            status=status,
            content_hash=ContentHash(content_hash) if content_hash else None,
            steps=tuple(sorted(map(self._decided, theirs), key=lambda one: one.decided_at)),
            ended_at=ended_at,
            version=self._version(item, steps),
            amount=None if amount is None else money(amount),
            waiting=tuple(self.accounts.from_oa(one) for one in waiting),
        )

    def _word(self, item: Item) -> Status:
        return self.profile.statuses.get(
            item.text(self.profile.process.status) or "", Status.UNKNOWN
        )

    def _is_ours(self, step: SeenStep) -> bool:
        """Raises: NotSentError, when who we are cannot be read: a step of ours is no decision."""
        account = self.profile.account
        return account is not None and step.decided_by == secret(self.secrets, account)

    def _decided(self, step: SeenStep) -> DecidedStep:
        if step.decided_by is None or step.decided_at is None:
            raise ContractError(f"step {step.step_id} is decided, but not by whom or when")
        return DecidedStep(
            decided_by=self.accounts.from_oa(step.decided_by),
            outcome=step.word,
            opinion=step.opinion,
            decided_at=step.decided_at,
            step_id=step.step_id,
        )

    def _status(self, item: Item, steps: Sequence[SeenStep]) -> Status:
        word = self._word(item)
        part = self.profile.steps
        if part is None or not part.decides or part.expected is None or word is Status.VANISHED:
            return word
        expected = len(part.expected.all(item.body, item.headers))
        return decided(word, [self._outcome(one) for one in steps], expected)

    def _outcome(self, step: SeenStep) -> str | None:
        return "withdraw" if step.is_decided and self._is_ours(step) else step.word

    def _version(self, item: Item, steps: Sequence[SeenStep]) -> tuple[int, ...]:
        """The newest change of the process or a step, in microseconds; then its revision."""
        changes = [item.time(self.profile.process.changed_at, self.zone)]
        changes += [one.changed_at for one in steps]
        newest = max((one for one in changes if one is not None), default=None)
        revision = item.text(self.profile.process.revision)
        version = (
            () if newest is None else (int(newest.timestamp()) * 1_000_000 + newest.microsecond,)
        )
        return version + ((int(revision),) if revision and revision.isdecimal() else ())


def decided(word: Status, outcomes: Sequence[str | None], expected: int) -> Status:
    """What the steps of a process make of it; `word` is what the OA calls the whole.

    One step that cannot be read, or a process that asks nobody, leaves it UNKNOWN. It is approved
    only while the OA still calls it open or approved.
    """
    if word is Status.UNKNOWN or None in outcomes or expected == 0:
        return Status.UNKNOWN
    ends = {"reject": Status.REJECTED, "return": Status.RETURNED, "withdraw": Status.WITHDRAWN}
    for outcome in outcomes:
        if outcome in ends:
            return ends[outcome]
    if word not in {Status.PENDING, Status.APPROVED}:
        return word
    approvals = sum(outcome == "approve" for outcome in outcomes)
    is_whole = approvals >= expected and all(one in {"approve", "none"} for one in outcomes)
    return Status.APPROVED if is_whole else Status.PENDING


def fingerprint(found: Sequence[Sequence[Any]]) -> str:
    """The same for the same values, in whatever order an OA lists them."""
    parts = [sorted(_canonical(value) for value in part) for part in found]
    return hashlib.sha256(_canonical(parts).encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
