"""`make bench`: every speed goal as a ratio to its limit; never a test, always a figure.

`python benchmarks/run.py [part …]` runs some of them; BENCH_ROUNDS=1 makes it quick and rough.
"""

import importlib
import logging
import sys

import structlog
import uvloop
from chassis.service import quiet_collector
from harness import chart, console, machine, save, show
from servers import servers

PARTS = (
    "relay",
    "inbox",
    "latency",
    "submit",
    "approvals",
    "pages",
    "road",
    "reconcile",
    "view",
    "memory",
)


async def main(names: list[str]) -> None:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    quiet_collector()  # as every service does
    figures, reported = [], {}
    console.print(machine())
    async with servers() as at:
        for name in names:
            console.rule(name)
            await at.empty_topics()
            part = importlib.import_module(name)
            more, said = await part.measure(at)
            figures += more
            reported |= said
    if figures:
        show(figures)
    for name, value in reported.items():
        console.print(f"{name}: {value}")
    if tuple(names) == PARTS:
        console.print(f"written: {save(figures, reported)}, {chart(figures)}")


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:] or list(PARTS)))
