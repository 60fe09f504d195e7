"""Named places where a fault test may kill, stop, delay or break the process; nothing when unset.

`FAILPOINTS=name:nth:action[,…]` with action `kill`, `stop`, `sleep=<ms>` or `raise`; `nth` counts
from 1 how often the place has been passed.
"""

import asyncio
import os
import signal
from collections import Counter


class FailpointError(RuntimeError):
    """Raised on purpose by a fault test."""


def _plan(text: str) -> dict[tuple[str, int], str]:
    plan = {}
    for item in filter(None, text.split(",")):
        name, nth, action = item.split(":", 2)
        plan[name, int(nth)] = action
    return plan


_PLAN = _plan(os.environ.get("FAILPOINTS", ""))
_passed: Counter[str] = Counter()


async def failpoint(name: str) -> None:
    """Pass the named place, and suffer what FAILPOINTS has planned for it."""
    if not _PLAN:
        return
    _passed[name] += 1
    action = _PLAN.get((name, _passed[name]))
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "raise":
        raise FailpointError(name)
    elif action is not None and action.startswith("sleep="):
        await asyncio.sleep(int(action.removeprefix("sleep=")) / 1000)
    elif action is not None:
        raise ValueError(f"FAILPOINTS: unknown action {action!r} at {name}")
