"""kill -9 at each named place: the process comes back, the road ends, each effect is there once."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from local_stack.process import NotReady
from town import Town, eventually


@pytest.mark.parametrize(
    ("failpoint", "service", "nth"),
    [
        # Early passes are the service's own at its start; the later ones are those of the road.
        ("tx.before_commit", "claims", 6),
        ("tx.after_commit", "claims", 7),
        ("relay.before_send", "claims", 1),
        ("relay.after_ack_before_cursor", "workflow", 1),
        ("consumer.before_commit", "workflow", 1),
        ("consumer.after_db_before_offset", "claims", 1),
        ("oa.after_create", "oa-connector", 1),
    ],
)
async def test_killed_at_a_failpoint_nothing_is_lost_and_each_effect_is_there_once(
    town: Town, failpoint: str, service: str, nth: int
) -> None:
    with suppress(NotReady):  # on a slow machine it may strike while the service starts
        await town.run_anew(service, FAILPOINTS=f"{failpoint}:{nth}:kill")
    again = asyncio.create_task(_run_again_once_dead(town, service))
    claim_ids = await asyncio.gather(town.submitted(), town.submitted())
    await town.approve(*claim_ids)
    await again
    await town.paid(*claim_ids)
    await _each_effect_once(town, claim_ids)


async def _run_again_once_dead(town: Town, service: str) -> None:
    """A fault that was planned and did not strike proves nothing: then this fails."""
    await eventually(lambda: town.died(service))
    await town.run(service)


async def _each_effect_once(town: Town, claim_ids: Sequence[str]) -> None:
    for claim_id in claim_ids:
        payments = await town.sql("claims", "SELECT id FROM payment WHERE claim_id = $1", claim_id)
        assert len(payments) == 1
        assert len(town.ledger(payments[0]["id"])) == 1
        assert len(await town.oa_processes(claim_id)) == 1
        hops = {hop.envelope.id: hop.type for hop in await town.hops(claim_id)}
        types = list(hops.values())
        for type_ in ("claim.submitted.v1", "payment.requested.v1", "payment.settled.v1"):
            assert types.count(type_) == 1, type_
