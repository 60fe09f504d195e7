"""Why something that was asked of an approval does not happen."""

from datetime import datetime, timedelta

from events import EmployeeId

from workflow.approval.domain.task import Task


class TaskDecided(Exception):
    """Someone has decided this task already."""

    def __init__(self, task: Task) -> None:
        super().__init__(task.task_id)
        self.decision = str(task.decision)
        self.decided_by = str(task.decided_by)
        self.via = str(task.via)
        self.decided_at = task.decided_at.isoformat() if task.decided_at else ""


class TaskCancelled(Exception):
    """The task was called off, or handed to someone else."""

    def __init__(self, task: Task) -> None:
        super().__init__(task.task_id)
        self.closing = str(task.closing or "")


class DecideInOA(Exception):
    """The approval runs in the OA, and is decided there."""

    def __init__(self, tenant: str) -> None:
        super().__init__(tenant)
        self.tenant = tenant


class NotAsked(Exception):
    """The decision is by someone whose turn it is not."""


class DecisionUnknown(Exception):
    """The decision is a word that we do not know, so never a yes."""


class ContentChanged(Exception):
    """The decision was made on another content than the one in question; `changed`: in what."""

    def __init__(self, changed_zh: str = "", changed_en: str = "") -> None:
        super().__init__("decided on another content")
        self.changed_zh = changed_zh
        self.changed_en = changed_en


class OpinionMissing(Exception):
    """A return or a rejection in our inbox says why."""

    def __init__(self, field: str = "/opinion") -> None:
        super().__init__(field)
        self.field = field


class NotYourVote(Exception):
    """Who was added to a step, or asked for an opinion, may not change the step itself."""

    def __init__(self, part: str) -> None:
        super().__init__(part)
        self.part = part


class TargetIsSubmitter(Exception):
    """The submitter never decides on a document of their own."""

    def __init__(self, person: EmployeeId) -> None:
        super().__init__(person)
        self.person_id = str(person)


class TargetAsked(Exception):
    """This person is asked in this step already."""

    def __init__(self, person: EmployeeId) -> None:
        super().__init__(person)
        self.person_id = str(person)


class NotRemovable(Exception):
    """Only whom I added, and who has not decided, can be removed."""

    def __init__(self, person: EmployeeId) -> None:
        super().__init__(person)
        self.person_id = str(person)


class StepNotDone(Exception):
    """A document goes back only to a step that has been done; `steps` names them."""

    def __init__(self, step: int | None, done: tuple[int, ...]) -> None:
        super().__init__(step)
        self.step = step or 0
        self.steps = ", ".join(map(str, done)) or "-"


class NotYoursToUrge(Exception):
    """Only the submitter and who has decided earlier may urge."""


class UrgedAlready(Exception):
    """Someone has urged this task within the hour."""

    def __init__(self, last: datetime, pause: timedelta) -> None:
        super().__init__(last)
        self.again_at = (last + pause).isoformat(timespec="minutes")
