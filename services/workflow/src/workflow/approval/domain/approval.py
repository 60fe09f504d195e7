"""The approval of one revision of one document: whom it asks, and what a decision does."""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

from events import ContentHash, DocumentId, EmployeeId, Event, Money, TaskId, TenantId
from events.workflow import (
    ApprovalCancelled,
    ApprovalDecided,
    ApprovalRevoked,
    Closing,
    Completion,
    DocumentKind,
    Mode,
    Outcome,
    Verb,
)
from msgspec import Struct
from msgspec.structs import replace

from workflow.approval.domain import facts, voting
from workflow.approval.domain.facts import Place
from workflow.approval.domain.task import Due, Part, Question, Task, TaskStatus, Verdict
from workflow.approval.domain.turns import Moment, as_asked, deadlines, turn
from workflow.definition.domain.route import Found, PlannedStep, Reason


class Status(StrEnum):
    """Where an approval stands."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    RETURNED = "returned"
    CANCELLED = "cancelled"
    REVOKED = "revoked"  # approved, and taken back in the OA


class Back(Struct, frozen=True):
    """Where the route goes on, and who sits there: the one who sent it back."""

    step: int
    seat: int
    person: EmployeeId


class Approval(Struct, frozen=True):
    """The approval of one revision of one document.

    A change returns the new state; `facts` and `dues` are what it has said and set since it was
    loaded, for the handler to emit and keep.
    """

    document_id: DocumentId
    revision: int
    kind: DocumentKind
    definition: str
    mode: Mode
    tenant: TenantId | None
    submitter_id: EmployeeId
    title: str
    total: Money
    details: tuple[str, ...]
    content_hash: ContentHash
    route: tuple[PlannedStep, ...]
    reasons: tuple[Reason, ...] = ()
    automatic: str | None = None
    tasks: tuple[Task, ...] = ()
    status: Status = Status.OPEN
    back: Back | None = None
    facts: tuple[Event, ...] = ()
    dues: tuple[Due, ...] = ()

    @property
    def place(self) -> Place:
        return self.document_id, self.revision

    @property
    def open_tasks(self) -> tuple[Task, ...]:
        """Whose turn it is now, in the order in which they were asked."""
        return tuple(task for task in self.tasks if task.status is TaskStatus.OPEN)

    @property
    def current_step(self) -> int | None:
        """The step that waits, if any: one at a time."""
        return next((task.step for task in self.open_tasks), None)

    @property
    def runs_here(self) -> bool:
        """Decided in Tonglu: from the start, or since an administrator was asked."""
        return self.mode is not Mode.DELEGATED or any(task.native for task in self.tasks)

    def task(self, id_: TaskId) -> Task | None:
        return next((task for task in self.tasks if task.task_id == id_), None)

    def planned(self, step: int) -> PlannedStep:
        """A step of the route; they are numbered from 1."""
        return self.route[step - 1]

    def round_of(self, step: int) -> tuple[Task, ...]:
        """The tasks of the last time that this step was asked."""
        asked = [task for task in self.tasks if task.step == step]
        last = max((task.round for task in asked), default=0)
        return tuple(task for task in asked if task.round == last)

    def seat_of(self, task: Task) -> list[Task]:
        return voting.by_seat(self.round_of(task.step))[task.seat]

    def vote_of(self, task: Task) -> Task:
        """The task of the seat's own vote, the last time it was asked."""
        return [one for one in self.seat_of(task) if one.part is Part.OWN][-1]

    def others_of(self, mine: Task | Question) -> set[EmployeeId]:
        """Who is asked in this step besides, will be, or has signed; and whose vote mine is about.

        Of a sequence that went on in the middle, also who had agreed before it was sent back.
        """
        round_ = [one for one in self.tasks if (one.step, one.round) == (mine.step, mine.round)]
        first = min([mine.seat, *(one.seat for one in round_)])
        round_ += [one for one in self.tasks if one.step == mine.step and one.seat < first]
        beside = [one for one in round_ if one.is_pending or one.has_signed]
        if mine.part is not Part.OWN:
            votes = [one for one in round_ if one.seat == mine.seat and one.part is Part.OWN]
            beside += votes[-1:]
        planned = enumerate(self.planned(mine.step).found, start=1)
        others = {one.approver_id for seat, one in planned if seat != mine.seat}
        for one in beside:
            if one is not mine:
                others |= {one.assignee_id, one.meant}
        return others

    def is_asked_anew(self, task: Task) -> bool:
        """Whether its seat has come again since: what was said the last time counts no more."""
        return any(
            one.step == task.step and one.round > task.round and one.seat <= task.seat
            for one in self.tasks
        )

    def pending(self) -> list[Task]:
        return [task for task in self.tasks if task.is_pending]

    def following(self, step: int) -> PlannedStep | None:
        return next((planned for planned in self.route if planned.step > step), None)

    def may_be_asked(self, task: Task) -> set[EmployeeId]:
        """Everyone whose turn it may be once this task is decided or closed."""
        following = self.following(task.step)
        asked, round_ = self.planned(task.step), self.round_of(task.step)
        people = {one.approver_id for one in following.found} if following else set()
        if len(asked.found) > 1 or len(round_) > 1:  # else no one but the next step can come
            people |= {one.approver_id for one in asked.found}
            people |= {person for one in round_ for person in (one.assignee_id, one.meant)}
        if self.back is not None:
            people |= {one.approver_id for one in self.planned(self.back.step).found}
            people.add(self.back.person)
        return people

    def asked(self, step: int, moment: Moment, back: Back | None = None) -> "Approval":
        """It is the turn of whom the route names for this step; in `back.seat`, of that person.

        A sequence begins with its first, or goes on where it was sent back from.
        """
        planned = self.planned(step)
        rounds = [task.round for task in self.tasks if task.step == step]
        round_ = max(rounds) + 1 if rounds else 1
        found, first = planned.found, 1
        if planned.completion is Completion.SEQUENCE:
            first = back.seat if back is not None else 1
            found = found[first - 1 : first]
        after = self
        for seat, one in enumerate(found, start=first):
            person, rule = one.approver_id, one.rule
            if back is not None and back.seat == seat:
                person, rule = back.person, f"returned_by({back.person})"
            after = after.asking(Question(step, round_, seat, person, rule), moment)
        return after

    def asking(self, question: Question, moment: Moment) -> "Approval":
        """Ask whoever it falls to now; one who signs after the vote is only noted until it is."""
        number = len([task for task in self.tasks if task.step == question.step]) + 1
        id_ = TaskId(f"{self.document_id}.{self.revision}.{question.step}.{number}")
        task = self._task(id_, question, moment)
        if question.part is Part.AFTER and not voting.is_agreed(self.seat_of(task)):
            return replace(self, tasks=(*self.tasks, replace(task, status=TaskStatus.WAITING)))
        return self._announced((*self.tasks, task), task, moment)

    def opened(self, waiting: Task, moment: Moment) -> "Approval":
        """It is now the turn of one who signs after the vote."""
        task = self._task(waiting.task_id, self._question(waiting), moment)
        return self._announced(self._with(task), task, moment)

    def moved(
        self, task: Task, to: Found, verb: Verb, closing: Closing, moment: Moment
    ) -> "Approval":
        """What this task asked is asked of another person."""
        question = replace(self._question(task), person=to.approver_id, rule=to.rule, verb=verb)
        if task.part is not Part.OPINION:
            question = replace(question, acting_for=None)
        return self.closed([task], closing, moment.now).asking(question, moment)

    def passed_on(self, task: Task, closing: Closing, moment: Moment) -> "Approval":
        """Its person has left or is away: it is asked of whom it falls to now."""
        return self.closed([task], closing, moment.now).asking(self._question(task), moment)

    def closed(self, over: Collection[Task], closing: Closing, now: datetime) -> "Approval":
        """These need no decision any more; those who were asked are told."""
        tasks = tuple(
            replace(task, status=TaskStatus.CANCELLED, closing=closing, closed_at=now)
            if task in over
            else task
            for task in self.tasks
        )
        told = (task for task in over if task.status is TaskStatus.OPEN)
        said = (facts.closed(self.place, task, closing, now) for task in told)
        return replace(self, tasks=tasks, facts=(*self.facts, *said))

    def answered(self, task: Task, verdict: Verdict) -> "Approval":
        """The task with its decision, and nothing that follows from it."""
        done = replace(
            task,
            status=TaskStatus.DECIDED,
            decision=verdict.decision,
            decided_by=verdict.by,
            via=verdict.via,
            content_hash=verdict.content_hash,
            opinion=verdict.opinion,
            decided_at=verdict.decided_at,
            automatic=verdict.automatic,
        )
        fact = facts.decided(self.place, done, verdict)
        return replace(self, tasks=self._with(done), facts=(*self.facts, fact))

    def asked_again(self, task: Task, moment: Moment) -> "Approval":
        """The one whose vote it is has heard the others of the seat."""
        return self.asking(self._question(self.vote_of(task)), moment)

    def ended(
        self, outcome: Outcome, at: datetime, now: datetime, automatic: str | None = None
    ) -> "Approval":
        """Nobody is asked any more."""
        over = self.closed(self.pending(), Closing.ENDED, now)
        fact = ApprovalDecided(
            document_id=self.document_id,
            document_kind=self.kind,
            revision=self.revision,
            outcome=outcome,
            content_hash=self.content_hash,
            decided_at=at,
            automatic=automatic,
        )
        return replace(over, status=Status(outcome), back=None).saying(fact)

    def cancelled(self, now: datetime) -> "Approval":
        """Its document was withdrawn, or handed in anew. An ended approval stays as it is."""
        if self.status is not Status.OPEN:
            return self
        over = self.closed(self.pending(), Closing.ENDED, now)
        fact = ApprovalCancelled(
            document_id=self.document_id, revision=self.revision, cancelled_at=now
        )
        return replace(over, status=Status.CANCELLED, back=None).saying(fact)

    def revoked(self, reason: str, now: datetime) -> "Approval":
        """The OA took back what it had approved. Only an approval by that OA, and only once."""
        if self.status is not Status.APPROVED or all(one.via != self.tenant for one in self.tasks):
            return self
        fact = ApprovalRevoked(
            document_id=self.document_id,
            document_kind=self.kind,
            revision=self.revision,
            via=str(self.tenant),
            reason=reason,
            revoked_at=now,
        )
        return replace(self, status=Status.REVOKED).saying(fact)

    def taken_over(self, found: Found, moment: Moment) -> "Approval":
        """The step that waits is asked of this one person alone, and from here on in Tonglu."""
        step = self.current_step
        if step is None:
            return self
        route = tuple(
            replace(one, found=(found,), completion=Completion.ONE) if one.step == step else one
            for one in self.route
        )
        freed = self.closed(self.pending(), Closing.REROUTED, moment.now)
        planned = replace(freed, route=route)
        round_ = planned.round_of(step)[-1].round + 1
        question = Question(
            step, round_, 1, found.approver_id, found.rule, verb=Verb.REROUTE, in_tonglu=True
        )
        return planned.asking(question, moment)

    def returned_to(self, step: int, back: Back | None, moment: Moment) -> "Approval":
        """An earlier step is asked anew; from it the route goes on, or straight to `back`."""
        freed = self.closed(self.pending(), Closing.RETURNED, moment.now)
        return replace(freed, back=back).asked(step, moment)

    def saying(self, fact: Event) -> "Approval":
        return replace(self, facts=(*self.facts, fact))

    def _with(self, changed: Task) -> tuple[Task, ...]:
        return tuple(changed if task.task_id == changed.task_id else task for task in self.tasks)

    def _task(self, id_: TaskId, question: Question, moment: Moment) -> Task:
        planned = self.planned(question.step)
        native = self.runs_here or question.in_tonglu
        due_at = None
        if planned.deadline is not None:
            asked_at = self._asked_at(question, moment)
            due_at = moment.calendar.after(asked_at, planned.deadline.hours)
        # Whom the OA asks, the OA knows: its own people stand in there.
        whose = as_asked(question)
        if native:
            others = self.others_of(question) if question.person in moment.gone else ()
            whose = turn(question, self.submitter_id, others, moment)
        return Task(
            task_id=id_,
            step=question.step,
            round=question.round,
            seat=question.seat,
            part=question.part,
            name=planned.name,
            assignee_id=whose.person,
            rule=whose.rule,
            native=native,
            assigned_at=moment.now,
            verb=whose.verb,
            acting_for=whose.acting_for,
            added_by=question.added_by,
            due_at=due_at,
            is_stranded=whose.is_stranded,
        )

    def _question(self, task: Task) -> Question:
        """What a task asked, to ask it again; what a stand-in was asked, of whoever was meant."""
        question = Question(
            step=task.step,
            round=task.round,
            seat=task.seat,
            person=task.meant,
            rule=task.rule,
            part=task.part,
            verb=task.verb,
            acting_for=task.acting_for,
            added_by=task.added_by,
        )
        if task.verb is not Verb.STAND_IN:
            return question
        found = self.planned(task.step).found
        rule = next((one.rule for one in found if one.approver_id == task.meant), task.rule)
        verb, acting_for = None, None
        if task.part is Part.OPINION:
            acting_for = self.vote_of(task).assignee_id
            rule, verb = f"delegate({acting_for})", Verb.DELEGATE
        elif task.part is not Part.OWN:
            is_before = task.part is Part.BEFORE
            rule = f"add_sign({task.added_by})"
            verb = Verb.ADD_SIGN_BEFORE if is_before else Verb.ADD_SIGN_AFTER
        return replace(question, rule=rule, verb=verb, acting_for=acting_for)

    def _asked_at(self, seat: Task | Question, moment: Moment) -> datetime:
        """When this seat was first asked in this round, be it now."""
        before = self._seat_before(seat)
        return before[0].assigned_at if before else moment.now

    def _seat_before(self, seat: Task | Question) -> list[Task]:
        """Who was asked in this seat in this round before, in their order."""
        place = seat.step, seat.round, seat.seat
        return [task for task in self.tasks if (task.step, task.round, task.seat) == place]

    def _announced(self, tasks: tuple[Task, ...], task: Task, moment: Moment) -> "Approval":
        deadline = self.planned(task.step).deadline
        dues: list[Due] = []
        if deadline is not None:
            before = [one for one in self._seat_before(task) if one.part is task.part]
            is_escalated = any(one.closing is Closing.ESCALATED for one in before)
            asked_at = self._asked_at(task, moment)
            dues = deadlines(deadline, task, asked_at, moment, is_escalated=is_escalated)
        fact = facts.assigned(self.place, task)
        return replace(self, tasks=tasks, facts=(*self.facts, fact), dues=(*self.dues, *dues))
