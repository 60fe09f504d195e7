"""Money, limits, the state machine and the content hash, without any I/O."""

import hashlib
import itertools
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from claims.claim.domain import (
    NEXT,
    STATUS_ZH,
    Claim,
    Content,
    CurrenciesMixed,
    DecisionImpossible,
    Draft,
    Move,
    MoveNotAllowed,
    Status,
    VersionConflict,
    new_claim,
    total_of,
)
from claims.payment.domain import (
    AlreadySettled,
    AmountDiffers,
    PaymentClosed,
    payment_id,
    request_payment,
)
from claims.policy.domain import (
    NO_RULE,
    AmountNotPositive,
    AmountTooLarge,
    CurrencyUnknown,
    DecimalsTooMany,
    Line,
    PolicyBroken,
    digits_of,
    exact,
    judge,
    line_amount,
    parse_limits,
)
from events import ClaimId, DocumentId, EmployeeId
from events.claims import (
    ChosenApprovers,
    ClaimApproved,
    ClaimRejected,
    ClaimReturned,
    Severity,
)
from events.workflow import ApprovalDecided, ApprovalRevoked, DocumentKind, Outcome
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
LIMITS = parse_limits("""
- {id: hotel, category: hotel, limit: {amount: "500", currency: CNY}, severity: warn, effective_from: 2026-01-01}
- {id: hotel.sh, category: hotel, city: 上海, limit: {amount: "600", currency: CNY}, severity: warn, effective_from: 2026-01-01}
- {id: hotel.max, category: hotel, limit: {amount: "2000", currency: CNY}, severity: block, effective_from: 2026-01-01}
- {id: taxi.old, category: taxi, limit: {amount: "50", currency: CNY}, severity: block, effective_from: 2025-01-01, effective_to: 2026-01-01}
- {id: taxi.new, category: taxi, limit: {amount: "80", currency: CNY}, severity: block, effective_from: 2026-01-01}
""")  # noqa: E501


def a_line(cost: str = "480.00", *, n: int = 1, **changed) -> Line:
    line = Line(n, "hotel", date(2026, 11, 20), None, exact(Decimal(cost), "CNY"))
    return replace(line, **changed)


def a_draft(*lines: Line, title: str = "上海客户现场") -> Claim:
    return new_claim(ClaimId("c-1"), EmployeeId("E1001"), Draft(title, lines or (a_line(),)), NOW)


def a_submitted_claim() -> Claim:
    return a_draft().submitted((), NOW)[0]


def a_decision(claim: Claim, outcome: Outcome = Outcome.APPROVED) -> ApprovalDecided:
    return ApprovalDecided(
        document_id=DocumentId(claim.id),
        document_kind=DocumentKind.CLAIM,
        revision=claim.revision,
        outcome=outcome,
        content_hash=claim.content_hash,
        decided_at=NOW,
    )


@pytest.mark.parametrize(("currency", "digits"), [("CNY", 2), ("JPY", 0), ("KWD", 3)])
def test_each_currency_has_the_decimals_of_iso_4217(currency: str, digits: int) -> None:
    assert digits_of(currency) == digits


@pytest.mark.parametrize("currency", ["RMB", "XAU", "XXX", "", "cny", "人民币"])
def test_what_has_no_minor_units_is_no_currency_of_a_claim(currency: str) -> None:
    with pytest.raises(CurrencyUnknown):
        digits_of(currency)


@pytest.mark.parametrize(
    ("amount", "currency", "refusal"),
    [
        ("1.234", "CNY", DecimalsTooMany),
        ("1.5", "JPY", DecimalsTooMany),
        ("0", "CNY", AmountNotPositive),
        ("-1", "CNY", AmountNotPositive),
        ("1000000000", "CNY", AmountTooLarge),
    ],
)
def test_amount_that_no_receipt_can_show_is_refused(amount, currency, refusal) -> None:
    with pytest.raises(refusal):
        line_amount(Decimal(amount), currency)


cents = st.integers(min_value=1, max_value=10**11 - 1)


@given(st.lists(cents, min_size=1, max_size=200))
def test_total_is_the_exact_sum_of_its_lines_with_the_currencys_decimals(amounts) -> None:
    lines = [a_line(f"{Decimal(amount).scaleb(-2)}") for amount in amounts]
    total = total_of(lines)
    assert total.amount == Decimal(sum(amounts)).scaleb(-2)
    assert total.amount.as_tuple().exponent == -2


@given(cents)
def test_exact_money_never_changes_its_value_and_never_rounds(amount: int) -> None:
    plain = Decimal(amount).scaleb(-2)
    assert exact(plain, "CNY").amount == plain
    assert exact(plain.normalize(), "CNY") == exact(plain, "CNY")
    with pytest.raises(DecimalsTooMany):
        exact(plain + Decimal("0.001"), "CNY")


def test_lines_in_two_currencies_have_no_total() -> None:
    with pytest.raises(CurrenciesMixed, match="CNY, JPY"):
        total_of([a_line(), a_line(n=2, amount=exact(Decimal(900), "JPY"))])


def test_line_within_its_limit_has_no_finding() -> None:
    assert judge([a_line("500.00")], LIMITS) == ()


def test_limit_of_the_city_goes_before_the_general_one() -> None:
    (finding,) = judge([a_line("600.01", city="上海")], LIMITS)
    assert finding.rule_id == "hotel.sh"
    assert judge([a_line("600.00", city="上海")], LIMITS) == ()


def test_heavier_limit_goes_before_the_lighter_one() -> None:
    (finding,) = judge([a_line("2000.01", reason="展会")], LIMITS)
    assert (finding.rule_id, finding.severity, finding.hinders) == ("hotel.max", "block", True)


def test_warning_with_a_reason_does_not_hinder() -> None:
    bare, explained = judge([a_line("501.00"), a_line("501.00", n=2, reason="展会")], LIMITS)
    assert (bare.hinders, explained.hinders) == (True, False)
    assert explained.violation.reason == "展会"


@pytest.mark.parametrize(
    ("spent_on", "amount", "rule"),
    [(date(2025, 12, 31), "50.01", "taxi.old"), (date(2026, 1, 1), "80.01", "taxi.new")],
)
def test_rule_of_the_day_of_the_expense_holds(spent_on, amount, rule) -> None:
    (finding,) = judge([a_line(amount, category="taxi", spent_on=spent_on)], LIMITS)
    assert (finding.rule_id, finding.trace.rule_id) == (rule, rule)


@pytest.mark.parametrize("changed", [{"category": "yacht"}, {"spent_on": date(2024, 1, 1)}])
def test_line_that_no_rule_covers_is_blocked(changed) -> None:
    (finding,) = judge([a_line("1.00", **changed)], LIMITS)
    assert (finding.rule_id, finding.hinders) == (NO_RULE, True)


def test_finding_explains_itself_in_both_languages_with_its_trace() -> None:
    (finding,) = judge([a_line("680.00", city="上海")], LIMITS)
    assert "680.00 CNY" in finding.zh
    assert "600.00 CNY" in finding.zh
    assert "add a reason" in finding.en
    assert finding.trace.inputs == {
        "category": "hotel",
        "city": "上海",
        "spent_on": "2026-11-20",
        "amount": "680.00 CNY",
        "limit": "600.00 CNY",
    }
    assert finding.trace.result == "680.00 CNY > 600.00 CNY: warn"


@pytest.mark.parametrize(
    "rule",
    [
        "{severity: strict}",
        "{limit: {amount: 500.50, currency: CNY}}",
        "{limit: {amount: '500.505', currency: CNY}}",
        "{limit: {amount: '500', currency: RMB}}",
        "{colour: red}",
    ],
)
def test_unreadable_limits_file_is_refused_whole(rule: str) -> None:
    known = (
        "id: a, category: hotel, limit: {amount: '1', currency: CNY}, severity: warn,"
        " effective_from: 2026-01-01"
    )
    name = rule[1:].split(":", maxsplit=1)[0]
    kept = ", ".join(part for part in known.split(", ") if not part.startswith(name))
    if name == "limit":
        kept = "id: a, category: hotel, severity: warn, effective_from: 2026-01-01"
    with pytest.raises(ValueError):  # noqa: PT011 -- pydantic's or ours
        parse_limits(f"- {{{kept}, {rule[1:]}")


ALL_MOVES = list(itertools.product(Status, Move))


@pytest.mark.parametrize(("status", "move"), ALL_MOVES)
def test_state_table_allows_a_move_or_refuses_it_by_name(status: Status, move: Move) -> None:
    claim = replace(a_submitted_claim(), status=status)
    if (status, move) in NEXT:
        moved = claim.moved(move, NOW)
        assert (moved.status, moved.version) == (NEXT[status, move], claim.version + 1)
    else:
        with pytest.raises(MoveNotAllowed) as refusal:
            claim.moved(move, NOW)
        assert (refusal.value.claim_status, refusal.value.move) == (status, move)
        assert refusal.value.status_zh == STATUS_ZH[status]


def test_state_table_is_the_one_that_was_agreed() -> None:
    table = {(str(status), str(move)): str(after) for (status, move), after in NEXT.items()}
    changeable = ("draft", "withdrawn", "returned", "revoked")
    editable = {
        **{(status, "edit"): status for status in changeable},
        **{(status, "submit"): "submitted" for status in changeable},
    }
    assert table == editable | {
        ("submitted", "withdraw"): "withdrawn",
        ("submitted", "approve"): "approved",
        ("submitted", "return"): "returned",
        ("submitted", "reject"): "rejected",
        ("approved", "request_payment"): "paying",
        ("failed", "request_payment"): "paying",
        ("paying", "settle"): "paid",
        ("paying", "fail"): "failed",
        ("paying", "revoke"): "revoked",
        ("failed", "revoke"): "revoked",
        ("paid", "revoke"): "recovering",
    }


def test_returned_claim_can_be_edited_and_resubmitted_as_the_next_revision() -> None:
    first = a_submitted_claim()
    returned, fact = first.decided(a_decision(first, Outcome.RETURNED), NOW)
    assert isinstance(fact, ClaimReturned)
    edited = returned.edited(Draft("改后", (a_line("400.00"),)), NOW)
    second, handed_in = edited.submitted((), NOW)
    assert (second.revision, handed_in.revision) == (2, 2)
    assert second.content_hash != first.content_hash


def test_edit_of_an_outdated_version_names_both() -> None:
    with pytest.raises(VersionConflict) as refusal:
        a_draft().expect(3)
    assert (refusal.value.yours, refusal.value.current) == (3, 1)


def test_finding_that_hinders_keeps_the_claim_a_draft() -> None:
    claim = a_draft(a_line("501.00"))
    with pytest.raises(PolicyBroken):
        claim.submitted(judge(claim.lines, LIMITS), NOW)


def test_approval_of_this_content_leads_on_to_paying() -> None:
    claim = a_submitted_claim()
    approved, fact = claim.decided(a_decision(claim), NOW)
    assert approved.status is Status.PAYING
    assert isinstance(fact, ClaimApproved)


def test_rejection_ends_it() -> None:
    claim = a_submitted_claim()
    rejected, fact = claim.decided(a_decision(claim, Outcome.REJECTED), NOW)
    assert rejected.status is Status.REJECTED
    assert isinstance(fact, ClaimRejected)


@pytest.mark.parametrize(
    "changed",
    [{"content_hash": "0" * 64}, {"revision": 2}, {"outcome": Outcome.UNKNOWN}],
)
@pytest.mark.parametrize("outcome", [Outcome.APPROVED, Outcome.RETURNED])
def test_decision_on_another_content_or_of_no_known_outcome_is_impossible(changed, outcome) -> None:
    claim = a_submitted_claim()
    with pytest.raises(DecisionImpossible):
        claim.decided(a_decision(claim, outcome).model_copy(update=changed), NOW)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.SUBMITTED, Status.WITHDRAWN}))
def test_second_decision_of_a_revision_is_impossible(status: Status) -> None:
    claim = replace(a_submitted_claim(), status=status)
    with pytest.raises(DecisionImpossible, match=status):
        claim.decided(a_decision(claim), NOW)


def test_decision_that_a_withdrawal_has_overtaken_has_no_effect() -> None:
    claim = a_submitted_claim()
    withdrawn, _ = claim.withdrawn(NOW)
    again, _ = withdrawn.submitted((), NOW)
    assert withdrawn.decided(a_decision(claim), NOW) is None
    assert again.decided(a_decision(claim), NOW) is None


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@given(texts, st.lists(st.tuples(cents, texts), min_size=1, max_size=5))
def test_content_hash_can_be_computed_again_from_the_event_in_any_order_of_keys(
    title, said
) -> None:
    lines = [
        a_line(f"{Decimal(amount).scaleb(-2)}", n=n, city=city, reason=city)
        for n, (amount, city) in enumerate(said, start=1)
    ]
    findings = [finding for finding in judge(lines, LIMITS) if not finding.hinders]
    claim, fact = a_draft(*lines, title=title).submitted(tuple(findings), NOW)
    shuffled = _reversed_keys(json.loads(fact.model_dump_json()))
    assert Content.model_validate(shuffled).hash == fact.content_hash == claim.content_hash


def _reversed_keys(value):
    if isinstance(value, dict):
        return {key: _reversed_keys(inner) for key, inner in reversed(value.items())}
    return [_reversed_keys(item) for item in value] if isinstance(value, list) else value


def test_canonical_form_is_the_documented_one() -> None:
    line = a_line("680", city="上海", reason="展会")
    claim = a_draft(line)
    _, fact = claim.submitted(judge([line], LIMITS), NOW)
    canonical = (
        '{"claim_id":"c-1","employee_id":"E1001","lines":[{"amount":{"amount":"680.00",'
        '"currency":"CNY"},"category":"hotel","city":"上海","line_no":1,"spent_on":"2026-11-20"}],'
        '"title":"上海客户现场","total":{"amount":"680.00","currency":"CNY"},"violations":[{'
        '"limit":{"amount":"600.00","currency":"CNY"},"line_no":1,"reason":"展会",'
        '"rule_id":"hotel.sh","severity":"warn"}]}'
    )
    assert Content.model_validate(fact).canonical.decode() == canonical
    assert fact.content_hash == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    "changed",
    [{"city": "北京"}, {"spent_on": date(2026, 11, 21)}, {"category": "meal"}],
)
def test_any_change_of_a_line_changes_the_hash(changed) -> None:
    before = a_draft(a_line()).submitted((), NOW)[0].content_hash
    assert a_draft(a_line(**changed)).submitted((), NOW)[0].content_hash != before


def test_cost_centre_is_content_and_whom_the_employee_chose_is_not() -> None:
    claim = a_draft()
    chosen = (ChosenApprovers(step="expert", approvers=(EmployeeId("E7"),)),)
    plain, named, choosing = (
        changed.submitted((), NOW)[1]
        for changed in (claim, replace(claim, cost_centre="CC-1"), replace(claim, chosen=chosen))
    )
    assert plain.content_hash == choosing.content_hash != named.content_hash
    assert '"cost_centre":"CC-1"' in Content.model_validate(named).canonical.decode()
    assert Content.model_validate(named).hash == named.content_hash
    assert choosing.chosen_approvers == chosen


def a_revocation(claim: Claim, **changed) -> ApprovalRevoked:
    revoked = ApprovalRevoked(
        document_id=DocumentId(claim.id),
        document_kind=DocumentKind.CLAIM,
        revision=claim.revision,
        via="flowable",
        reason="重复报销",
        revoked_at=NOW,
    )
    return revoked.model_copy(update=changed)


@pytest.mark.parametrize(
    ("status", "after", "recovers"),
    [
        (Status.PAYING, Status.REVOKED, False),
        (Status.FAILED, Status.REVOKED, False),
        (Status.PAID, Status.RECOVERING, True),
    ],
)
def test_what_was_paid_under_an_approval_taken_back_is_to_be_recovered(
    status, after, recovers
) -> None:
    claim = replace(a_submitted_claim(), status=status)
    revoked, fact = claim.revoked(a_revocation(claim), NOW)
    assert revoked.status is after
    assert fact.to_recover == (claim.total if recovers else None)


@pytest.mark.parametrize("status", [Status.WITHDRAWN, Status.REVOKED, Status.RECOVERING])
def test_approval_taken_back_twice_or_of_an_earlier_revision_has_no_effect(status) -> None:
    claim = replace(a_submitted_claim(), status=status)
    assert claim.revoked(a_revocation(claim), NOW) is None
    again = replace(claim, status=Status.PAYING, revision=2)
    assert again.revoked(a_revocation(claim), NOW) is None


@pytest.mark.parametrize(
    ("status", "revision"), [(Status.SUBMITTED, 1), (Status.REJECTED, 1), (Status.PAYING, 2)]
)
def test_what_was_not_approved_can_not_be_taken_back(status, revision) -> None:
    claim = replace(a_submitted_claim(), status=status)
    with pytest.raises(DecisionImpossible):
        claim.revoked(a_revocation(claim, revision=revision), NOW)


def test_payment_id_is_bound_to_claim_revision_payee_amount_and_attempt() -> None:
    claim = a_submitted_claim()
    others = [
        replace(claim, id=ClaimId("c-2")),
        replace(claim, revision=2),
        replace(claim, employee_id=EmployeeId("E1002")),
        replace(claim, total=exact(Decimal("480.01"), "CNY")),
    ]
    ids = {payment_id(other, 1) for other in others} | {payment_id(claim, 2)}
    assert payment_id(claim, 1) == payment_id(replace(claim, title="x"), 1)
    assert len(ids | {payment_id(claim, 1)}) == 6
    assert len(payment_id(claim, 1)) <= 35


def test_payment_settles_once_and_knows_its_receipt() -> None:
    payment, _ = request_payment(a_submitted_claim(), NOW)
    settled, fact = payment.settled(payment.amount, "R-1", "erp", NOW + timedelta(hours=1))
    assert (fact.receipt, settled.closed_by) == ("R-1", "erp")
    assert settled.settled(payment.amount, "R-1", "erp", NOW) is None
    with pytest.raises(AlreadySettled, match="R-1"):
        settled.settled(payment.amount, "R-2", "erp", NOW)


def test_payment_of_another_amount_is_refused() -> None:
    payment, _ = request_payment(a_submitted_claim(), NOW)
    for amount, currency in (("479.99", "CNY"), ("480.00", "USD")):
        with pytest.raises(AmountDiffers):
            payment.settled(exact(Decimal(amount), currency), "R-1", "erp", NOW)


def test_failed_payment_cannot_settle_and_is_retried_under_a_new_id() -> None:
    claim = a_submitted_claim()
    payment, _ = request_payment(claim, NOW)
    failed, _ = payment.failed("account closed", "erp", NOW)
    with pytest.raises(PaymentClosed):
        failed.settled(payment.amount, "R-1", "erp", NOW)
    again, fact = failed.retried(claim, NOW, attempt=2)
    assert (again.attempt, again.amount) == (2, payment.amount)
    assert fact.payment_id == again.id != payment.id
    with pytest.raises(PaymentClosed):
        payment.retried(claim, NOW, attempt=2)


def test_unknown_severity_hinders() -> None:
    (finding,) = judge([a_line("501.00", reason="展会")], LIMITS)
    assert finding.model_copy(update={"severity": Severity.UNKNOWN}).hinders
