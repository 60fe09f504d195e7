"""Words, pauses, recipients, and the fold of the pipeline."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from events.notices import ChannelName
from hypothesis import given
from hypothesis import strategies as st
from notifier.channels.letters import LANGUAGES, TEMPLATES, compose
from notifier.domain import (
    Addressed,
    Employee,
    Flight,
    PipelineFact,
    Side,
    Stage,
    Template,
    Tidings,
    money_text,
    notices,
    pause_after,
)

MAY_BE_EMPTY = (
    "amount", "submitter", "acting_for", "by", "text", "recover", "version", "form", "paused",
    "degraded",
)  # fmt: skip
START = datetime(2026, 11, 24, tzinfo=UTC)
EVERY_VALUE = {
    "title": "上海出差", "amount": "12.00 CNY", "name": "林晓", "submitter": "王强", "step": "财务",
    "paid": "12.00 CNY", "receipt": "R-1", "reason": "账号有误", "tenant": "flowable",
    "drift": "vanished", "acting_for": "孙洁", "by": "王强", "text": "请看住宿费",
    "action": "remind", "recover": "12.00 CNY", "version": "7.1", "form": "travel",
    "paused": "yes", "degraded": "yes",
}  # fmt: skip


def addressed(template: Template, language: str = "zh", **values: str) -> Addressed:
    return Addressed(
        notice_id="N1",
        recipient_id="E1001",
        document_id="C1",
        template=template.value,
        language=language,
        email="a@example.com",
        is_active=True,
        values={**EVERY_VALUE, **values},
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", Template)
def test_every_template_exists_in_both_languages_and_names_its_document(template, language) -> None:
    message = compose(addressed(template, language))
    assert message.subject
    assert "{" not in message.subject + message.body
    assert "C1" in message.body
    assert "林晓" in message.body


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", Template)
def test_every_template_reads_well_when_little_is_known(template, language) -> None:
    message = compose(addressed(template, language, **dict.fromkeys(MAY_BE_EMPTY, "")))
    assert "  " not in message.body
    assert "C1" in message.body


@pytest.mark.parametrize(
    ("action", "said"),
    [("remind", "请尽快审批"), ("escalate", "无需再审批"), ("decide", "自动处理")],
)
def test_late_task_says_what_became_of_it(action, said) -> None:
    assert said in compose(addressed(Template.APPROVAL_OVERDUE, action=action)).body


def test_notice_that_the_release_before_left_due_is_still_told() -> None:
    kept = {"title": "上海出差", "amount": "", "submitter": "", "name": "林晓", "step": "财务"}
    message = compose(replace(addressed(Template.APPROVAL_TASK), values=kept))
    assert "等待您审批。" in message.body


def test_no_template_lies_unused() -> None:
    expected = {f"{name.value}.{language}.txt" for name in Template for language in LANGUAGES}
    assert {path.name for path in TEMPLATES.iterdir()} == expected


def test_value_with_a_line_break_cannot_add_a_header_or_end_the_subject() -> None:
    message = compose(addressed(Template.CLAIM_RETURNED, title="a\r\nBcc: x@example.com"))
    assert message.subject == "报销单已退回：a Bcc: x@example.com"


def test_value_that_looks_like_a_template_is_only_text() -> None:
    message = compose(addressed(Template.CLAIM_RETURNED, title="{{ name.__class__ }}"))
    assert "{{ name.__class__ }}" in message.subject


def test_language_without_templates_reads_chinese() -> None:
    assert compose(addressed(Template.CLAIM_RETURNED, "fr")).language == "zh"


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("1234.5", "1,234.50 CNY"), ("0.0010", "0.001 CNY"), ("1E+3", "1,000.00 CNY"),
     ("12.0000", "12.00 CNY")],
)  # fmt: skip
def test_money_reads_as_people_write_it(amount, expected) -> None:
    assert money_text(Decimal(amount), "CNY") == expected


@given(st.integers(1, 10_000))
def test_pause_doubles_and_never_passes_the_longest(attempt) -> None:
    first, longest = timedelta(seconds=1), timedelta(minutes=15)
    pause = pause_after(attempt, first, longest)
    assert first <= pause <= longest
    assert pause_after(attempt + 1, first, longest) in {pause * 2, longest}


def test_person_who_left_is_told_nothing_and_one_without_address_gets_no_mail() -> None:
    people = [
        Employee("A", is_active=True, email="a@example.com"),
        Employee("B", is_active=True),
        Employee("C", is_active=False, email="c@example.com"),
    ]
    both = (ChannelName.IN_APP, ChannelName.EMAIL)
    told = notices(Tidings(Template.CLAIM_RETURNED, "C1"), people, both)
    assert [(it.recipient_id, it.channel) for it in told] == [
        ("A", "in_app"), ("A", "email"), ("B", "in_app"),
    ]  # fmt: skip


def facts(side: Side, *steps: tuple[Stage, int | None]) -> list[PipelineFact]:
    return [
        PipelineFact("C1", side, n, stage, revision, START + timedelta(hours=n))
        for n, (stage, revision) in enumerate(steps, 1)
    ]


CLAIM = facts(
    Side.CLAIM,
    (Stage.SUBMITTED, 1), (Stage.RETURNED, 1), (Stage.SUBMITTED, 2), (Stage.PAYING, 2),
    (Stage.PAYING, 2), (Stage.PAID, None),
)  # fmt: skip
APPROVAL = facts(Side.APPROVAL, (Stage.APPROVING, 1), (Stage.APPROVING, 1), (Stage.APPROVING, 2))


def position(claims: int, approvals: int):
    flight = Flight("C1")
    for fact in CLAIM[:claims] + APPROVAL[:approvals]:
        flight = flight.after(fact)
    return flight.position


@pytest.mark.parametrize(
    ("claims", "approvals", "stage", "hour"),
    [
        (1, 0, "submitted", 1), (1, 1, "approving", 1), (1, 2, "approving", 1),
        (2, 2, "returned", 2), (3, 2, "submitted", 3), (3, 3, "approving", 3),
        (4, 3, "paying", 4), (5, 3, "paying", 4), (6, 3, "paid", 6), (6, 0, "paid", 6),
    ],
)  # fmt: skip
def test_stage_and_its_start_at_each_point_of_the_road(claims, approvals, stage, hour) -> None:
    assert position(claims, approvals) == (stage, START + timedelta(hours=hour))


def test_claim_whose_approval_was_taken_back_leaves_the_way_to_payment() -> None:
    taken_back = facts(Side.CLAIM, (Stage.SUBMITTED, 1), (Stage.PAYING, 1), (Stage.REVOKED, None))
    flight = Flight("C1")
    for fact in [*taken_back, *APPROVAL[:1]]:
        flight = flight.after(fact)
    assert flight.position == ("revoked", START + timedelta(hours=3))


def test_claim_of_which_only_approvals_are_known_is_not_counted() -> None:
    assert position(0, 3) is None


@given(st.data())
def test_fold_does_not_depend_on_how_the_topics_interleave_or_repeat(data) -> None:
    claims, approvals = iter(CLAIM), iter(APPROVAL)
    takes = data.draw(st.permutations([True] * len(CLAIM) + [False] * len(APPROVAL)))
    flight = Flight("C1")
    seen: list[PipelineFact] = []
    for is_claim in takes:
        seen.append(next(claims if is_claim else approvals))
        again = data.draw(st.integers(0, len(seen)))
        for fact in itertools.chain(seen[-1:], seen[again:]):
            flight = flight.after(fact)
    assert flight.position == position(len(CLAIM), len(APPROVAL))
