"""`make bench`: every speed goal as a ratio to its limit; never a test, always a figure.

`python benchmarks/run.py [name …]` runs some of them.
"""

import importlib
import sys

import uvloop
from harness import chart, console, save, show
from servers import servers

PARTS = ("relay", "inbox", "latency", "submit", "road")


async def main(names: list[str]) -> None:
    figures, reported = [], {}
    async with servers() as at:
        for name in names:
            console.rule(name)
            part = importlib.import_module(name)
            figures += await part.measure(at)
            reported |= getattr(part, "REPORTED", {})
    show(figures)
    for name, value in reported.items():
        console.print(f"{name}: {value}")
    console.print(f"written: {save(figures, reported)}, {chart(figures)}")


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:] or list(PARTS)))
