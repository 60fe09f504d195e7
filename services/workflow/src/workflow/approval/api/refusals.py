"""Why something about a task is refused, and the way out, in both languages."""

from chassis.problem import Refusal, Text

from workflow.approval.domain import (
    ContentChanged,
    DecideInOA,
    NotRemovable,
    NotYoursToUrge,
    NotYourVote,
    OpinionMissing,
    StepNotDone,
    TargetAsked,
    TargetIsSubmitter,
    TaskCancelled,
    TaskDecided,
    UrgedAlready,
)

REFUSALS: dict[type[Exception], Refusal] = {
    TaskDecided: Refusal(
        409,
        "task-decided",
        Text(
            "这项待办已由 {decided_by} 于 {decided_at} 在 {via} 处理（{decision}），无需再办。",
            "{decided_by} decided this at {decided_at} in {via} ({decision}). No more to do.",
        ),
    ),
    TaskCancelled: Refusal(
        409,
        "task-cancelled",
        Text(
            "这项待办已结束：单据已撤回、已由他人办结，或已转给他人，无需再办。",
            "This task is over: the document was withdrawn, others decided, or another took over.",
        ),
    ),
    ContentChanged: Refusal(
        409,
        "content-changed",
        Text(
            "这不是当前审批的内容：{changed_zh}。请重新打开单据后再审批。",
            "This is not the content in question: {changed_en}. Open the document again, then"
            " decide.",
        ),
    ),
    DecideInOA: Refusal(
        409,
        "decide-in-oa",
        Text(
            "这张单据在 OA（{tenant}）里审批，请到那里处理。",
            "This document is approved in the OA ({tenant}); decide there.",
        ),
    ),
    OpinionMissing: Refusal(
        422,
        "opinion-missing",
        Text(
            "退回或驳回须填写 {field}，说明原因。",
            "A return or a rejection needs {field}: say why.",
        ),
    ),
    NotYourVote: Refusal(
        409,
        "not-your-vote",
        Text(
            "你是被加签或受托的人，只能表态或转交；请由原审批人操作。",
            "You were added, or asked for an opinion: decide or transfer; the rest is for the"
            " approver whose step it is.",
        ),
    ),
    TargetIsSubmitter: Refusal(
        422,
        "target-is-submitter",
        Text(
            "{person_id} 是提交人，不能审批自己的单据；请另选他人。",
            "{person_id} handed this in and never decides on it: choose someone else.",
        ),
    ),
    TargetAsked: Refusal(
        422,
        "target-asked",
        Text(
            "{person_id} 已在本节点审批人之中；请另选他人。",
            "{person_id} is asked in this step already: choose someone else.",
        ),
    ),
    NotRemovable: Refusal(
        422,
        "not-removable",
        Text(
            "{person_id} 不是你加签的人，或已经处理；只能减去你加签且尚未处理的人。",
            "{person_id} was not added by you, or has decided: only those you added who have not"
            " can be removed.",
        ),
    ),
    StepNotDone: Refusal(
        422,
        "step-not-done",
        Text(
            "不能退回到第 {step} 步；可退回的节点：{steps}。",
            "It cannot go back to step {step}; steps it can go back to: {steps}.",
        ),
    ),
    NotYoursToUrge: Refusal(
        403,
        "not-yours-to-urge",
        Text(
            "只有提交人或前面的审批人可以催办。",
            "Only the submitter and who has decided before may urge.",
        ),
    ),
    UrgedAlready: Refusal(
        409,
        "urged-already",
        Text(
            "这项待办一小时内已催办过，请在 {again_at} 之后再催。",
            "It was urged within the hour; urge again after {again_at}.",
        ),
    ),
}
