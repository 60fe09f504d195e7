"""Open tasks of people who are not there: up the line, to the stand-in, or to an administrator."""

from events.workflow import Closing
from msgspec.structs import replace

from workflow.approval.domain.approval import Approval
from workflow.approval.domain.task import Task
from workflow.approval.domain.turns import Moment, above


def rerouted(approval: Approval, task: Task, moment: Moment) -> Approval:
    """A leaver's task goes up the line, a stand-in's back to whoever was meant.

    Where no one is there to take it, it waits, marked.
    """
    others = approval.others_of(task)
    is_here = task.meant not in moment.gone
    if is_here or above(task.meant, approval.submitter_id, others, moment.directory) is not None:
        return approval.passed_on(task, Closing.REROUTED, moment)
    if task.is_stranded:
        return approval
    stranded = replace(task, is_stranded=True)
    tasks = tuple(stranded if one is task else one for one in approval.tasks)
    return replace(approval, tasks=tasks)


def stood_in(approval: Approval, task: Task, moment: Moment) -> Approval:
    """The task goes to who stands in for its person now; never to the submitter."""
    stand_in = moment.stand_ins.get(task.assignee_id, approval.submitter_id)
    if stand_in == approval.submitter_id:
        return approval
    return approval.passed_on(task, Closing.STAND_IN, moment)
