"""What a profile may say, checked when it is loaded: a mistake is named by file, field and rule."""

import re
from abc import ABC, abstractmethod
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from oa_connector.domain import Ability, Idempotency, Status
from oa_connector.vendors.profile.proofs import Callback
from oa_connector.vendors.profile.reading import (
    Extractor,
    Judged,
    Part,
    Reply,
    Sign,
    Verdict,
    checked_path,
    has_list,
)
from oa_connector.vendors.profile.rules import mistakes
from oa_connector.vendors.profile.writing import names

JsonPath = Annotated[str, AfterValidator(checked_path)]

_FORM = frozenset(
    {"business_key", "document_id", "template", "content_hash", "attempt", "claim_url"}
    | {"title", "amount", "currency", "submitter", "approvers", "details"}
)
_ONE = frozenset({"instance_id"})
_STEP = _ONE | {"step_id"}
_PERSON = frozenset({"person"})


class Call(Judged, ABC):
    """One call of the OA; a transport adds what it sends."""

    @abstractmethod
    def sent(self) -> Any:
        """The tree in which placeholders may stand."""

    def needs(self, name: str) -> bool:
        return name in self.placeholders()

    def placeholders(self) -> frozenset[str]:
        """Raises: ValueError, for a `$` that begins none."""
        return names(self.sent())


C = TypeVar("C", bound=Call)


def _zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is no time zone, such as Asia/Shanghai") from error


def _format(text: str) -> str:
    if "%" not in text:
        raise ValueError(f"{text!r} holds no time: write it with %, such as %Y-%m-%d %H:%M:%S")
    return text


class Clock(Part):
    """How the OA writes time: the zone of times that name none, and the format it is asked in."""

    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    format: Annotated[str, AfterValidator(_format)] = "%Y-%m-%dT%H:%M:%SZ"

    @model_validator(mode="after")
    def _one_zone(self) -> Self:
        """A Z in the format means UTC to the OA; the time before it is written in `zone`."""
        seasons = [datetime(2026, month, 1, tzinfo=ZoneInfo(self.zone)) for month in (1, 7)]
        is_utc = not any(one.utcoffset() for one in seasons)
        if re.search(r"(?<!%)Z", self.format) and not is_utc:
            raise ValueError(
                f"format {self.format!r} says Z, which is UTC, for times in {self.zone}:"
                " write %z there, leave it out, or set the zone UTC"
            )
        return self


class Process(Part):
    """Where the fields of one process stand, in the answer of `fetch` and in items of lists.

    `content_hash` shows what we sent as `${content_hash}`: with another one, or none, a process is
    not that of the document.
    `revision` is a number that grows with each change, where the OA has one.
    """

    instance_id: Extractor
    status: Extractor
    business_key: Extractor | None = Field(None, description="needed where there is `resolve`")
    content_hash: Extractor
    amount: Extractor | None = None
    created_at: Extractor | None = None
    changed_at: Extractor | None = None
    ended_at: Extractor | None = None
    revision: Extractor | None = None


class Create(Part, Generic[C]):
    """The call that begins a process, and where its answer holds the process's id."""

    call: C
    instance_id: Extractor


class Fetch(Part, Generic[C]):
    """The call that reads one process. `gone_when` says that the OA knows it no more.

    `at` finds the process in the answer: the paths of `process` begin there, and `expected` of
    `steps`, and all of its paths where it has no call of its own.
    """

    call: C
    at: JsonPath = Field("$", description="where the process stands in the answer")
    gone_when: tuple[Sign, ...] = (Sign(status=(404,)),)

    def is_gone(self, reply: Reply) -> bool:
        """A page of a proxy that cannot find the OA says nothing of the process."""
        return reply.body is not None and any(sign.holds(reply) for sign in self.gone_when)


class Listing(Part, Generic[C]):
    """A call that finds processes. `each` finds one item; `next` what `${cursor}` is to be then.

    `first` is the cursor of the first page. A page of fewer than `page_size` is the last; a full
    one without `next` may hide others, and counts as no answer. So does one without the list, or
    with null for it, unless `none_when` says that nothing was found.
    """

    call: C
    each: JsonPath
    first: str = ""
    next: Extractor | None = None
    none_when: tuple[Sign, ...] = Field((), description="where an empty list is left out")
    page_size: int = Field(100, ge=1)

    def has_none(self, reply: Reply) -> bool:
        """Whether an answer in which no item was found says that there is none."""
        return has_list(self.each, reply.body) or any(one.holds(reply) for one in self.none_when)


class Detail(Part, Generic[C]):
    """A further call for each decided step; `note_id` becomes `${note_id}` of the next."""

    call: C
    decided_by: Extractor | None = None
    decided_at: Extractor | None = None
    opinion: Extractor | None = None
    note_id: Extractor | None = None


StepWord = Literal["approve", "reject", "return", "asked", "queued", "none"]


def _with_approve(words: dict[str, StepWord]) -> dict[str, StepWord]:
    if "approve" not in words.values():
        raise ValueError("none of them means approve: name the OA's word for it")
    return words


class Steps(Part, Generic[C]):
    """Where the steps of a process stand: in a call of their own, or in the answer of `fetch`.

    `words` says what the OA's word for a step means: decided, `asked` now, `queued` until later,
    or `none` for a step that was taken away. `expected` finds one value for each step there must
    be. With `decides`, the process is approved when every expected step is, and only then: the
    OA's word for the whole is no decision.
    """

    call: C | None = None
    each: JsonPath
    total: Extractor | None = None
    step_id: Extractor
    status: Extractor
    words: Annotated[dict[str, StepWord], AfterValidator(_with_approve)]
    person: Extractor | None = None
    decided_by: Extractor | None = None
    decided_at: Extractor | None = None
    opinion: Extractor | None = None
    changed_at: Extractor | None = None
    details: tuple[Detail[C], ...] = ()
    expected: Extractor | None = None
    decides: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.decides and self.expected is None:
            raise ValueError("decides needs expected: how many steps there must be")
        for field in ("decided_by", "decided_at"):
            if not any(getattr(part, field) for part in (self, *self.details)):
                raise ValueError(f"{field} is needed, here or in one of the details")
        return self


class Scans(Part, Generic[C]):
    """The lists of processes that were created, or changed, in a window of the OA's time."""

    created: Listing[C] | None = None
    changed: Listing[C] | None = None


class Withdrawal(Part, Generic[C]):
    """A call that ends a process; `per` step: once for each step that is asked now."""

    call: C
    per: Literal["process", "step"] = "process"


class Known(Part):
    """The versions that this profile was proven with: from this one on, below that one."""

    at_least: str
    below: str

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        if not numbers(self.at_least) < numbers(self.below):
            raise ValueError("at_least must be a lower version than below")
        return self

    def holds(self, version: str) -> bool:
        return numbers(self.at_least) <= numbers(version) < numbers(self.below)


class Probe(Part, Generic[C]):
    """The call that names the OA's version, and the versions that are known."""

    call: C
    version: Extractor
    known: Known


class PeopleCheck(Part, Generic[C]):
    """The call that looks up an account, and by what its answer says that there is none.

    An answer that is not accepted says nothing, and holds nobody up.
    """

    call: C
    unknown_when: tuple[Sign, ...] = Field(min_length=1)

    def says(self, reply: Reply) -> bool | None:
        if reply.body is None or self.call.judge(reply) is not Verdict.ACCEPTED:
            return None
        return not any(sign.holds(reply) for sign in self.unknown_when)


class FormProbe(Part, Generic[C]):
    """The call that shows a template's form; a change of what `parts` find is a changed form."""

    call: C
    parts: tuple[JsonPath, ...] = Field(min_length=1)


def _with_pending(words: dict[str, Status]) -> dict[str, Status]:
    if Status.PENDING not in words.values():
        raise ValueError("none of them means pending: name the OA's word for one that runs")
    return words


class ProfileBase(Part, Generic[C]):
    """Everything but the transport. `statuses` turns the OA's words into ours; others: UNKNOWN.

    `account` is the name of the secret that holds our own account there: a step that it ended
    was withdrawn, not decided. `templates` names the OA's form or process, `${template}`, for each
    kind of document. `claim_url` shows approvers the document; it may hold `{document_id}`.
    """

    name: str = Field(min_length=1)
    account: str | None = None
    clock: Clock = Clock()
    claim_url: str = ""
    templates: dict[str, str] = Field(min_length=1)
    idempotency: Idempotency = Idempotency.SEARCHABLE
    withdraw_by: Ability = Field(Ability.NONE, description="where there is no call for it")
    create: Create[C]
    process: Process
    statuses: Annotated[dict[str, Status], AfterValidator(_with_pending)]
    fetch: Fetch[C]
    steps: Steps[C] | None = None
    resolve: Listing[C] | None = None
    scan: Scans[C] = Scans()
    withdraw: tuple[Withdrawal[C], ...] = ()
    comment: C | None = None
    probe: Probe[C]
    form: FormProbe[C] | None = None
    people: PeopleCheck[C] | None = None
    callback: Callback | None = None

    def with_claim_url(self, claim_url: str) -> Self:
        """The profile with where approvers see a document, unless it says so itself."""
        return self if self.claim_url else self.model_copy(update={"claim_url": claim_url})

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if found := list(mistakes(self)):
            raise ValueError("\n".join(found))
        return self

    def calls(self) -> list[tuple[str, C, frozenset[str]]]:
        """Every call that it makes, with its place and the placeholders that can stand there."""
        calls = [
            ("create", self.create.call, _FORM),
            ("fetch", self.fetch.call, _ONE),
            ("probe", self.probe.call, frozenset[str]()),
        ]
        for place, listing, known in (
            ("resolve", self.resolve, frozenset({"business_key", "cursor"})),
            ("scan.created", self.scan.created, frozenset({"begins", "ends", "cursor"})),
            ("scan.changed", self.scan.changed, frozenset({"begins", "ends", "cursor"})),
        ):
            if listing is not None:
                calls.append((place, listing.call, known))
        if self.steps is not None and self.steps.call is not None:
            calls.append(("steps", self.steps.call, _ONE))
        details = self.steps.details if self.steps else ()
        calls += [("steps.details", one.call, _STEP | {"note_id"}) for one in details]
        for one in self.withdraw:
            known = _STEP if one.per == "step" else _ONE
            calls.append(("withdraw", one.call, known | {"reason"}))
        if self.comment is not None:
            calls.append(("comment", self.comment, _ONE | {"text"}))
        if self.form is not None:
            calls.append(("form", self.form.call, frozenset({"template"})))
        if self.people is not None:
            calls.append(("people", self.people.call, _PERSON))
        return calls


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 5.0.3+dfsg-3 is (5, 0, 3).

    Raises:
        ValueError: it begins with none.
    """
    found = re.match(r"\D{0,8}(\d+(?:\.\d+)*)", version)
    if found is None:
        raise ValueError(f"{version!r} is no version")
    return tuple(int(part) for part in found[1].split("."))
