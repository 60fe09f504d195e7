"""In what one revision of a document differs from another, as its approver reads both."""

from collections import Counter

from workflow.approval.domain.approval import Approval
from workflow.approval.domain.refusals import ContentChanged

_SHOWN = 5  # rows that a refusal names


def content_changed(seen: Approval | None, current: Approval) -> ContentChanged:
    """Why a decision on `seen` is none on `current`. None: no revision of ours has that content."""
    if seen is None:
        return ContentChanged(
            "你看到的内容不是任何一版提交的内容",
            "what was shown is none of the revisions handed in",
        )
    zh, en = [f"你看到的是第 {seen.revision} 版"], [f"what was shown is revision {seen.revision}"]
    if seen.title != current.title:
        zh.append(f"标题 {seen.title} → {current.title}")
        en.append(f"title {seen.title} → {current.title}")
    if seen.total != current.total:
        zh.append(f"总额 {_money(seen)} → {_money(current)}")
        en.append(f"total {_money(seen)} → {_money(current)}")
    rows = _rows(seen, current)
    if rows:
        zh.append("明细 " + "，".join(rows))
        en.append("lines " + ", ".join(rows))
    if len(zh) == 1:
        zh.append("明细以外的内容有变")
        en.append("it differs in what the lines do not show")
    return ContentChanged("；".join(zh), "; ".join(en))


def _money(approval: Approval) -> str:
    return f"{approval.total.amount} {approval.total.currency}"


def _rows(seen: Approval, current: Approval) -> list[str]:
    """Rows that are gone with −, rows that are new with +; the first few."""
    before, after = Counter(seen.details), Counter(current.details)
    changed = [f"− {row}" for row in (before - after).elements()]
    changed += [f"+ {row}" for row in (after - before).elements()]
    return [*changed[:_SHOWN], *(["…"] if len(changed) > _SHOWN else [])]
