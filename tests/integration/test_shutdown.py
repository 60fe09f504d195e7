"""SIGTERM while people work: what is in hand is finished, and nobody has to do more than retry."""

import pytest
from tonglu import topology
from town import Town

DRAIN_SECONDS = 20.0


@pytest.mark.parametrize("service", topology.SERVICES)
async def test_sigterm_under_load_drains_and_no_request_fails_beyond_a_retry(
    town: Town, service: str
) -> None:
    async with town.under_load() as accepted:
        code, seconds = await town.stop(service)
        await town.run(service)
    assert (code, seconds < DRAIN_SECONDS) == (0, True)
    await town.arrived(accepted)
