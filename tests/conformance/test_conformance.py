"""What any adapter must show against its OA, one test for each row of the table."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from events import InstanceId
from kit import HASH, HTML, Absent, Delivery, Rig, command, eventually
from oa_connector.domain import (
    Ability,
    Idempotency,
    Page,
    Sight,
    Snapshot,
    Status,
    SubmitApproval,
    SubmitOutcome,
    Window,
)
from oa_connector.vendors import CallbackRefusedError, OAError

TOLERANCE = timedelta(minutes=10)
OVERLAP = timedelta(seconds=5)


async def created(rig: Rig, wanted: SubmitApproval) -> InstanceId:
    result = await rig.port.submit(wanted)
    assert result.outcome is SubmitOutcome.ACCEPTED, result
    assert result.instance_id is not None
    return result.instance_id


async def until(rig: Rig, instance_id: InstanceId, status: Status) -> Snapshot:
    return await eventually(lambda: rig.port.fetch(instance_id), lambda seen: seen.status is status)


def steps(seen: Snapshot) -> list[tuple[str, str | None, str | None]]:
    return [(one.decided_by, one.outcome, one.opinion) for one in seen.steps]


@pytest.mark.conformance("自述能力", "what it says it can do")
async def test_it_says_what_it_can_do(rig: Rig, record_property):
    able, report = rig.port.capabilities, await rig.port.probe()
    said = {
        ("适配档案", "profile"): able.profile,
        ("OA 版本", "version of the OA"): report.version,
        ("防重方式", "protection from creating twice"): able.idempotency,
        ("得知变化", "how changes are seen"): ", ".join(sorted(able.sights)),
        ("回调签名", "callbacks are signed"): "✓" if able.push_signed else "—",
        ("撤回方式", "withdraw by"): able.withdraw,
        ("批注方式", "comment by"): able.comment,
    }
    for (zh, en), value in said.items():
        record_property("says", [rig.name, zh, en, str(value)])
    assert Sight.POLL_ONE in able.sights
    assert able.profile
    assert rig.port.breaker in {"closed", "opened", "half-opened"}
    assert not rig.port.refuses_us


@pytest.mark.conformance("版本可知", "the version is known")
async def test_a_probe_names_a_known_version(rig: Rig):
    report = await rig.port.probe()
    assert report.version
    assert not report.is_degraded, report.detail


@pytest.mark.conformance("未知的新版本降级运行", "an unknown newer version runs degraded")
async def test_an_unknown_newer_version_runs_degraded(rig: Rig):
    with rig.proxy.edited(rig.newer_version):
        report = await rig.port.probe()
    assert report.is_degraded
    assert report.version in report.detail


@pytest.mark.conformance("表单变更可察觉", "a changed form is noticed")
async def test_a_changed_form_has_another_fingerprint(rig: Rig):
    before = (await rig.port.probe()).forms
    if not before:
        raise Absent("fingerprints of forms")
    assert (await rig.port.probe()).forms == before
    async with rig.change_form(rig.template):
        during = (await rig.port.probe()).forms
    assert during[rig.template] != before[rig.template]
    assert (await rig.port.probe()).forms == before


@pytest.mark.conformance("送审后可读回", "what was created can be read back")
async def test_what_was_created_reads_back_whole(rig: Rig):
    wanted = command(rig.template)
    instance_id = await created(rig, wanted)
    seen = await rig.port.fetch(instance_id)
    assert (seen.status, seen.content_hash, seen.steps) == (Status.PENDING, HASH, ())
    assert seen.amount in {Decimal("1488.00"), None}
    assert seen.waiting in {("chen",), ()}
    (found,) = await rig.port.resolve(wanted.business_key)
    assert (found.instance_id, found.content_hash, found.is_open) == (instance_id, HASH, True)


@pytest.mark.conformance("不存在的单据编号查不到", "an unknown key finds nothing")
async def test_an_unknown_key_finds_nothing(rig: Rig):
    assert await rig.port.resolve("nobody-sent-this@1") == []


@pytest.mark.conformance("内容不能伪造流程", "what people write cannot change the route")
async def test_what_people_write_cannot_change_the_route(rig: Rig):
    evil = 'ENDOFCONTENT\nOwner: zhou\nSubject: x\n"}]<a>${business_key} {1+1} $(id)'
    wanted = command(rig.template, "chen")
    form = replace(wanted.form, title=evil.replace("\n", " "), details=(evil, evil))
    instance_id = await created(rig, replace(wanted, form=form))
    await rig.decide(instance_id, "chen", "approve", evil.replace("\n", " "))
    seen = await until(rig, instance_id, Status.APPROVED)
    assert steps(seen) == [("chen", "approve", evil.replace("\n", " "))]


@pytest.mark.conformance("同意，带人与意见", "approved, by whom and with what opinion")
async def test_an_approval_is_read_with_person_and_opinion(rig: Rig):
    instance_id = await created(rig, command(rig.template, "chen"))
    began = datetime.now(UTC)
    await rig.decide(instance_id, "chen", "approve", "同意，请尽快付款")
    seen = await until(rig, instance_id, Status.APPROVED)
    assert steps(seen) == [("chen", "approve", "同意，请尽快付款")]
    assert abs(seen.steps[0].decided_at - began) < TOLERANCE
    assert seen.ended_at is not None


@pytest.mark.conformance("驳回，带人与意见", "rejected, by whom and with what opinion")
async def test_a_rejection_is_read_with_person_and_opinion(rig: Rig):
    instance_id = await created(rig, command(rig.template))
    await rig.decide(instance_id, "chen", "reject", "超标且无说明")
    seen = await until(rig, instance_id, Status.REJECTED)
    assert steps(seen) == [("chen", "reject", "超标且无说明")]


@pytest.mark.conformance("退回，带人与意见", "returned, by whom and with what opinion")
async def test_a_return_is_read_with_person_and_opinion(rig: Rig):
    instance_id = await created(rig, command(rig.template))
    await rig.decide(instance_id, "chen", "return", "请补发票")
    seen = await until(rig, instance_id, Status.RETURNED)
    assert steps(seen) == [("chen", "return", "请补发票")]


@pytest.mark.conformance(
    "审批人在 OA 无账号，送审被拒", "an approver without an account is refused"
)
async def test_an_approver_without_an_account_is_refused(rig: Rig):
    wanted = command(rig.template, "chen", "nobody-here")
    result = await rig.port.submit(wanted)
    if result.outcome is SubmitOutcome.ACCEPTED:
        raise Absent("a look at who has an account")
    assert (result.outcome, "nobody-here" in result.detail) == (SubmitOutcome.REJECTED, True)
    assert await rig.port.resolve(wanted.business_key) == []


@pytest.mark.conformance(
    "审批人账号已停用可察觉", "an approver whose account was closed is noticed"
)
async def test_an_approver_whose_account_was_closed_is_missing_until_it_is_open_again(rig: Rig):
    instance_id = await created(rig, command(rig.template, "chen"))
    assert (await rig.port.fetch(instance_id)).missing == ()
    async with rig.without("chen"):
        seen = await rig.port.fetch(instance_id)
        assert (seen.status, seen.missing) == (Status.PENDING, ("chen",))
    assert (await rig.port.fetch(instance_id)).missing == ()
    await rig.decide(instance_id, "chen", "approve", "回来了")
    assert steps(await until(rig, instance_id, Status.APPROVED)) == [("chen", "approve", "回来了")]


@pytest.mark.conformance("待办无人可办可察觉", "a step that is asked of nobody is noticed")
async def test_a_step_that_is_asked_of_nobody_is_noticed(rig: Rig):
    instance_id = await created(rig, command(rig.template, "chen"))
    await rig.abandon(instance_id)
    seen = await rig.port.fetch(instance_id)
    assert seen.status is Status.PENDING
    assert seen.missing == seen.waiting != ()


@pytest.mark.conformance("逐级审批，未完不算数", "part of the steps is no decision")
async def test_the_first_of_two_approvals_is_no_decision(rig: Rig):
    instance_id = await created(rig, command(rig.template))
    await rig.decide(instance_id, "chen", "approve", "一")
    seen = await eventually(lambda: rig.port.fetch(instance_id), lambda one: bool(one.steps))
    assert (seen.status, steps(seen)) == (Status.PENDING, [("chen", "approve", "一")])
    assert seen.waiting in {("zhou",), ()}
    await rig.decide(instance_id, "zhou", "approve", "二")
    seen = await until(rig, instance_id, Status.APPROVED)
    assert steps(seen) == [("chen", "approve", "一"), ("zhou", "approve", "二")]


@pytest.mark.conformance("末级驳回即驳回", "a rejection at the second step rejects")
async def test_a_rejection_at_the_second_step_rejects(rig: Rig):
    instance_id = await created(rig, command(rig.template))
    await rig.decide(instance_id, "chen", "approve", "一")
    await rig.decide(instance_id, "zhou", "reject", "二")
    seen = await until(rig, instance_id, Status.REJECTED)
    assert steps(seen) == [("chen", "approve", "一"), ("zhou", "reject", "二")]


@pytest.mark.conformance("同一人连续两步", "one person in two steps is asked twice")
async def test_one_person_in_two_steps_is_asked_twice(rig: Rig):
    instance_id = await created(rig, command(rig.template, "chen", "chen"))
    await rig.decide(instance_id, "chen", "approve", "一")
    seen = await eventually(lambda: rig.port.fetch(instance_id), lambda one: bool(one.steps))
    assert seen.status is Status.PENDING
    await rig.decide(instance_id, "chen", "approve", "二")
    seen = await until(rig, instance_id, Status.APPROVED)
    assert steps(seen) == [("chen", "approve", "一"), ("chen", "approve", "二")]


@pytest.mark.conformance("版本号只增不减", "the version of a process only grows")
async def test_the_version_of_a_process_grows_with_every_change(rig: Rig):
    instance_id = await created(rig, command(rig.template))
    versions = [(await rig.port.fetch(instance_id)).version]
    for who in ("chen", "zhou"):
        await rig.decide(instance_id, who, "approve", "好")
        versions.append((await rig.port.fetch(instance_id)).version)
    if versions == [(), (), ()]:
        raise Absent("versions of a process")
    assert versions == sorted(set(versions))


@pytest.mark.conformance("通过后被收回可察觉", "an approval taken back is noticed")
async def test_an_approval_taken_back_is_approved_no_more(rig: Rig):
    instance_id = await created(rig, command(rig.template, "chen"))
    await rig.decide(instance_id, "chen", "approve", "同意")
    approved = await until(rig, instance_id, Status.APPROVED)
    await rig.take_back(instance_id, "chen")
    seen = await eventually(
        lambda: rig.port.fetch(instance_id), lambda one: one.status is not Status.APPROVED
    )
    assert seen.status is not Status.UNKNOWN
    assert seen.version >= approved.version


@pytest.mark.conformance("实例被删可察觉", "a process that was deleted is noticed")
async def test_a_process_that_was_deleted_has_vanished(rig: Rig):
    instance_id = await created(rig, command(rig.template))
    await rig.delete(instance_id)
    seen = await eventually(
        lambda: rig.port.fetch(instance_id), lambda one: one.status is not Status.PENDING
    )
    assert seen.status in {Status.VANISHED, Status.WITHDRAWN, Status.TERMINATED}


@pytest.mark.conformance("金额被改可察觉", "an amount changed behind our back is noticed")
async def test_an_amount_changed_behind_our_back_is_seen(rig: Rig):
    instance_id = await created(rig, command(rig.template))
    if (await rig.port.fetch(instance_id)).amount is None:
        raise Absent("the amount of a process")
    await rig.change_amount(instance_id, "9488.00")
    assert (await rig.port.fetch(instance_id)).amount == Decimal("9488.00")


@pytest.mark.conformance("未知状态绝不当作通过", "an unknown status is UNKNOWN")
async def test_an_unknown_status_is_no_approval(rig: Rig):
    instance_id = await created(rig, command(rig.template, "chen"))
    await rig.decide(instance_id, "chen", "approve", "同意")
    await until(rig, instance_id, Status.APPROVED)
    with rig.proxy.edited(rig.odd_status):
        try:
            seen = (await rig.port.fetch(instance_id)).status
        except OAError:
            return
    assert seen is Status.UNKNOWN


@pytest.mark.conformance("回执丢失，只有一个流程", "a lost reply leaves one process")
async def test_a_lost_reply_is_unknown_and_leaves_one_process(rig: Rig):
    wanted = command(rig.template)
    rig.proxy.cut = True
    result = await rig.port.submit(wanted)
    assert result.outcome is SubmitOutcome.UNKNOWN
    if rig.port.capabilities.idempotency is Idempotency.NONE:
        raise Absent("a way to find the process again")
    (found,) = await rig.port.resolve(wanted.business_key)
    assert found.content_hash == HASH
    assert (await rig.port.fetch(found.instance_id)).status is Status.PENDING


@pytest.mark.conformance("重复创建可察觉", "a second create is noticed")
async def test_a_second_create_is_refused_or_found(rig: Rig):
    wanted = command(rig.template)
    first = await created(rig, wanted)
    second = await rig.port.submit(replace(wanted, attempt=2))
    found = [one.instance_id for one in await rig.port.resolve(wanted.business_key)]
    if second.outcome is SubmitOutcome.ACCEPTED and second.instance_id != first:
        assert found == [first, second.instance_id]
    else:
        assert found == [first]


@pytest.mark.conformance("多余的流程可撤回", "a ghost is withdrawn, the first one lives on")
async def test_a_ghost_is_withdrawn_and_the_first_lives_on(rig: Rig):
    wanted = command(rig.template)
    first = await created(rig, wanted)
    second = await rig.port.submit(replace(wanted, attempt=2))
    if second.instance_id in {None, first}:
        raise Absent("ghosts: its own key protects it")
    ghost = await rig.port.withdraw(second.instance_id, "duplicate")
    assert ghost.status in {Status.WITHDRAWN, Status.VANISHED}
    assert (await rig.port.fetch(first)).status is Status.PENDING
    is_open = {one.instance_id: one.is_open for one in await rig.port.resolve(wanted.business_key)}
    assert is_open[first]
    assert not is_open.get(second.instance_id, False)


@pytest.mark.conformance("业务键被丢可察觉", "a dropped business key is noticed")
async def test_a_business_key_that_the_oa_drops_is_noticed(rig: Rig):
    port = rig.forgetful()
    wanted = command(rig.template)
    try:
        result = await port.submit(wanted)
        assert result.outcome is SubmitOutcome.ACCEPTED
        assert await port.resolve(wanted.business_key) == []
    finally:
        await port.close()


@pytest.mark.conformance("撤回", "withdrawn")
async def test_a_withdrawn_process_is_withdrawn_and_no_decision(rig: Rig):
    if rig.port.capabilities.withdraw is not Ability.API:
        raise Absent("withdraw by API")
    instance_id = await created(rig, command(rig.template))
    seen = await rig.port.withdraw(instance_id, "员工撤回")
    assert seen.status in {Status.WITHDRAWN, Status.VANISHED}
    assert seen.steps == ()


@pytest.mark.conformance("撤回晚于审批，以 OA 为准", "a withdrawal that came too late")
async def test_a_withdrawal_after_the_approval_shows_the_approval(rig: Rig):
    instance_id = await created(rig, command(rig.template, "chen"))
    await rig.decide(instance_id, "chen", "approve", "同意")
    await until(rig, instance_id, Status.APPROVED)
    seen = await rig.port.withdraw(instance_id, "太晚了")
    assert (seen.status, steps(seen)) == (Status.APPROVED, [("chen", "approve", "同意")])


@pytest.mark.conformance("撤回与审批同时", "withdrawal and approval at once: one of them")
async def test_a_withdrawal_that_races_an_approval_ends_as_one_of_them(rig: Rig):
    for _ in range(2):
        instance_id = await created(rig, command(rig.template, "chen"))
        said, _ = await asyncio.gather(
            rig.port.withdraw(instance_id, "撤回"),
            rig.decide(instance_id, "chen", "approve", "同意"),
            return_exceptions=True,
        )
        assert isinstance(said, Snapshot | OAError)
        seen = await eventually(
            lambda one=instance_id: rig.port.fetch(one),
            lambda one: one.status is not Status.PENDING,
        )
        assert seen.status in {Status.APPROVED, Status.WITHDRAWN, Status.VANISHED}
        assert (await rig.port.fetch(instance_id)).status is seen.status


@pytest.mark.conformance("批注可见", "a comment is seen by the people of the OA")
async def test_a_comment_is_visible(rig: Rig):
    if rig.port.capabilities.comment is not Ability.API:
        raise Absent("comments")
    instance_id = await created(rig, command(rig.template, "chen"))
    await rig.port.comment(instance_id, "已在同路由 E1002 同意")
    assert "已在同路由 E1002 同意" in "\n".join(await rig.comments(instance_id))


@pytest.mark.conformance("结束后仍可批注", "a comment on a process that has ended")
async def test_a_comment_on_a_process_that_has_ended_is_visible(rig: Rig):
    instance_id = await created(rig, command(rig.template, "chen"))
    await rig.decide(instance_id, "chen", "approve", "同意")
    await until(rig, instance_id, Status.APPROVED)
    note = f"先到先得：以同路为准 {instance_id}"
    try:
        await rig.port.comment(instance_id, note)
    except OAError as error:
        raise Absent(f"comments after the end: {error}") from error
    assert note in "\n".join(await rig.comments(instance_id))


async def pages(rig: Rig, by: Sight, window: Window) -> list[Page]:
    found = [await rig.port.scan(by, window)]
    while found[-1].next is not None:
        found.append(await rig.port.scan(by, window, found[-1].next))
    return found


@pytest.mark.conformance("扫描新建", "a scan finds what was created")
async def test_a_scan_finds_what_was_created_in_its_window(rig: Rig):
    if Sight.POLL_CREATED_SINCE not in rig.port.capabilities.sights:
        raise Absent("a scan of what was created")
    wanted = command(rig.template)
    instance_id = await created(rig, wanted)
    now = datetime.now(UTC) + rig.port.clock_offset
    window = Window(now - OVERLAP - timedelta(seconds=10), now + OVERLAP)
    found = [
        one for page in await pages(rig, Sight.POLL_CREATED_SINCE, window) for one in page.instances
    ]
    ours = next(one for one in found if one.instance_id == instance_id)
    assert (ours.business_key, ours.content_hash) == (wanted.business_key, HASH)
    early = Window(window.begins - timedelta(days=2), window.begins - timedelta(days=1))
    assert (await rig.port.scan(Sight.POLL_CREATED_SINCE, early)).instances == ()


@pytest.mark.conformance("扫描变更", "a scan finds what has changed")
async def test_a_scan_finds_what_has_changed_in_its_window(rig: Rig):
    if Sight.POLL_CHANGED_SINCE not in rig.port.capabilities.sights:
        raise Absent("a scan of what has changed")
    instance_id = await created(rig, command(rig.template))
    await rig.decide(instance_id, "chen", "approve", "一")
    # Times of an OA may have whole seconds: what comes after this is in a later one.
    decided = await _second()
    await eventually(_second, lambda now: now >= decided + 2)
    begins = datetime.now(UTC) + rig.port.clock_offset - timedelta(seconds=1)
    await rig.decide(instance_id, "zhou", "approve", "二")
    await until(rig, instance_id, Status.APPROVED)
    window = Window(begins, datetime.now(UTC) + rig.port.clock_offset + OVERLAP)
    found = [
        one.instance_id
        for page in await pages(rig, Sight.POLL_CHANGED_SINCE, window)
        for one in page.instances
    ]
    assert instance_id in found


@pytest.mark.conformance("OA 时钟偏差可测", "the OA's clock is measured")
async def test_a_clock_that_runs_ahead_is_measured(rig: Rig):
    await rig.port.probe()
    assert abs(rig.port.clock_offset) < timedelta(seconds=2)
    rig.proxy.ahead = timedelta(minutes=7)
    try:
        await rig.port.probe()
        assert abs(rig.port.clock_offset - timedelta(minutes=7)) < timedelta(seconds=2)
    finally:
        rig.proxy.ahead = timedelta(0)
    await rig.port.probe()


@pytest.mark.conformance("OA 宕机，未送出", "an OA that is down: nothing was sent")
async def test_an_oa_that_is_down_has_been_sent_nothing(rig: Rig):
    wanted = command(rig.template)
    await rig.proxy.down()
    try:
        assert (await rig.port.submit(wanted)).outcome is SubmitOutcome.RETRY_LATER
        with pytest.raises(OAError):
            await rig.port.fetch(InstanceId("1"))
    finally:
        await rig.proxy.up()
    assert await rig.port.resolve(wanted.business_key) == []


@pytest.mark.conformance("限流与封禁页", "throttled, or a page instead of an answer")
@pytest.mark.parametrize(
    ("status", "outcomes"),
    [
        (429, {SubmitOutcome.RETRY_LATER}),
        (200, {SubmitOutcome.UNKNOWN}),
        (502, {SubmitOutcome.UNKNOWN}),
        (404, {SubmitOutcome.UNKNOWN, SubmitOutcome.REJECTED}),
    ],
)
async def test_a_page_instead_of_an_answer_is_never_a_yes(rig: Rig, status, outcomes):
    with rig.proxy.answering(status, HTML):
        assert (await rig.port.submit(command(rig.template))).outcome in outcomes
        for ask in (rig.port.fetch(InstanceId("1")), rig.port.resolve("k@1"), rig.port.probe()):
            with pytest.raises(OAError):
                await ask


BUSY = b'{"code": 5000, "msg": "busy"}'


@pytest.mark.conformance("查询答以错误，不当作没有", "an error for an answer is not taken for none")
async def test_an_error_in_place_of_a_list_does_not_say_that_there_is_nothing(rig: Rig):
    """Taken for nothing, a document would be created again, and a scan would leave changes out."""
    now = datetime.now(UTC)
    window = Window(now - timedelta(minutes=1), now)
    scans = {Sight.POLL_CREATED_SINCE, Sight.POLL_CHANGED_SINCE} & rig.port.capabilities.sights
    asked = [rig.port.scan(by, window) for by in scans]
    if rig.port.capabilities.idempotency is not Idempotency.NONE:
        asked.append(rig.port.resolve("k@1"))
    if not asked:
        raise Absent("searches")
    with rig.proxy.answering(200, BUSY):
        for ask in asked:
            with pytest.raises(OAError):
                await ask


async def called_back(rig: Rig, instance_id: InstanceId) -> list[Delivery]:
    """The callbacks about a process that was decided just now; those of others still come in."""
    if Sight.PUSH not in rig.port.capabilities.sights:
        raise Absent("callbacks")

    async def ours() -> list[Delivery]:
        return [
            one
            for one in rig.listener.taken
            for hint in rig.inbound.open(one.headers, one.body, one.came_at)
            if hint.instance_id == instance_id
        ]

    return await eventually(ours, lambda found: len(found) >= 2)


async def decided(rig: Rig) -> InstanceId:
    instance_id = await created(rig, command(rig.template, "chen"))
    await rig.decide(instance_id, "chen", "approve", "同意")
    return instance_id


@pytest.mark.conformance("回调可验证", "a genuine callback is taken and names its process")
async def test_a_genuine_callback_names_its_process(rig: Rig):
    first, second, *_ = await called_back(rig, await decided(rig))
    (hint,) = rig.inbound.open(first.headers, first.body, first.came_at)
    (other,) = rig.inbound.open(second.headers, second.body, second.came_at)
    assert hint.delivery_id != other.delivery_id
    assert hint.signature != other.signature


@pytest.mark.conformance("重复的回调可认出", "a callback that comes again has the same name")
async def test_a_callback_that_comes_again_has_the_same_name(rig: Rig):
    first, *_ = await called_back(rig, await decided(rig))
    now = first.came_at
    again = now + timedelta(seconds=1)
    assert rig.inbound.open(first.headers, first.body, now) == rig.inbound.open(
        first.headers, first.body, again
    )


@pytest.mark.conformance("伪造的回调被拒", "a forged callback is refused")
async def test_a_forged_callback_is_refused(rig: Rig):
    first, *_ = await called_back(rig, await decided(rig))
    now = first.came_at
    with pytest.raises(CallbackRefusedError):
        rig.stranger().open(first.headers, first.body, now)
    with pytest.raises(CallbackRefusedError):
        rig.inbound.open({}, first.body, now)


@pytest.mark.conformance("篡改、过期的回调被拒", "a changed or stale callback is refused")
async def test_a_changed_or_stale_callback_is_refused(rig: Rig):
    if not rig.port.capabilities.push_signed:
        raise Absent("signatures of callbacks")
    first, *_ = await called_back(rig, await decided(rig))
    now = first.came_at
    with pytest.raises(CallbackRefusedError):
        rig.inbound.open(first.headers, first.body + b" ", now)
    for skew in (timedelta(minutes=10), -timedelta(minutes=10)):
        with pytest.raises(CallbackRefusedError):
            rig.inbound.open(first.headers, first.body, now + skew)


@pytest.mark.conformance("密钥轮换", "a secret can be changed while callbacks come")
async def test_a_callback_signed_with_the_previous_secret_is_taken(rig: Rig):
    instance_id = await decided(rig)
    first, *_ = await called_back(rig, instance_id)
    (hint,) = rig.rotated().open(first.headers, first.body, first.came_at)
    assert hint.instance_id == instance_id


async def _second() -> int:
    return int(datetime.now(UTC).timestamp())
