"""The consumer loop on a real Kafka and a real PostgreSQL: one effect per event, in order."""

from bus_process import record_effect
from chassis.subscriptions import on

from conftest import Bus, eventually


async def test_events_take_effect_once_and_in_the_order_of_their_key(bus: Bus) -> None:
    facts = [(f"k{n % 7}", n) for n in range(300)]
    for at in range(0, 300, 50):
        await bus.emit(*facts[at : at + 50])
    async with bus.relaying(), bus.consuming(on(bus.event, record_effect)):
        await eventually(bus.effects, seconds=20)
        await eventually(lambda: bus.count("effect"), equals=300)
    for key in {key for key, _ in facts}:
        assert await bus.effects_of(key) == [n for of, n in facts if of == key]
