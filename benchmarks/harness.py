"""Interleaves a limit and the system under test, and keeps the ratio with its spread.

Both run on the same servers in the same minute: the machine's noise meets both alike.
"""

import json
import os
import platform
import statistics
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
RESULTS = Path(__file__).parent / "results"
console = Console(highlight=False)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figure:
    """One goal: what the system did, beside what the machine can do at all.

    `goal` is the ratio to reach. Where lower is better it is the ratio to stay under, and
    `at_most`, if there is one, is what the system's own median must stay under instead.
    """

    name: str
    unit: str
    limit_name: str
    goal: float
    limits: list[float]
    systems: list[float]
    lower_is_better: bool = False
    at_most: float | None = None
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        return [mine / limit for mine, limit in zip(self.systems, self.limits, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def scores(self) -> list[float]:
        """How many times the goal each round reached: 1 is the goal, more is better."""
        if self.at_most is not None:
            return [self.at_most / mine for mine in self.systems]
        if self.lower_is_better:
            return [self.goal / one for one in self.ratios]
        return [one / self.goal for one in self.ratios]

    @property
    def reached(self) -> bool:
        return statistics.median(self.scores) >= 1

    @property
    def goal_text(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}"
        return f"{'≤' if self.lower_is_better else '≥'} {self.goal:.2f}"

    @property
    def absolute(self) -> str:
        median = statistics.median(self.systems)
        return f"{median:,.0f} {self.unit}" if median >= 100 else f"{median:.1f} {self.unit}"  # noqa: PLR2004


async def _nothing() -> None:
    pass


async def interleave(
    name: str,
    contenders: Mapping[str, Callable[[], Awaitable[T]]],
    settle: Callable[[], Awaitable[None]] = _nothing,
) -> dict[str, list[T]]:
    """Each contender in turn, round after round; a first round is thrown away as warm-up.

    `settle` is called once after it.
    """
    measured: dict[str, list[T]] = {contender: [] for contender in contenders}
    for number in range(ROUNDS + 1):
        if number == 1:
            await settle()
        for contender, run in contenders.items():
            measured[contender].append(await run())
        said = ", ".join(f"{one} {_short(values[-1])}" for one, values in measured.items())
        console.print(f"[dim]{name} {number or 'warm-up'}: {said}[/dim]")
    return {contender: values[1:] for contender, values in measured.items()}


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return "/".join(map(_short, value))
    return f"{value:,.1f}"


def show(figures: list[Figure]) -> None:
    """The table that goes into the README."""
    table = Table(title="ratio to a limit measured in the same run", title_justify="left", box=None)
    for column in ("what", "beside", "ratio", "spread", "goal", "absolute", ""):
        table.add_column(column, justify="right" if column in {"ratio", "goal"} else "left")
    for one in figures:
        table.add_row(
            one.name,
            one.limit_name,
            f"{one.ratio:.2f}",
            f"{min(one.ratios):.2f}–{max(one.ratios):.2f}",
            one.goal_text,
            one.absolute,
            "[green]reached[/green]" if one.reached else "[yellow]not yet[/yellow]",
        )
    console.print(table)


def save(figures: list[Figure], reported: dict[str, str]) -> Path:
    """Everything measured, as JSON, with the machine it was measured on."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "latest.json"
    content = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "rounds": ROUNDS,
        "figures": [asdict(one) | {"ratio": one.ratio, "reached": one.reached} for one in figures],
        "reported": reported,
    }
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    return file


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores {platform.machine()}, {memory:.0f} GiB,"
        f" Python {platform.python_version()}; servers, services and load on the same cores"
    )


def chart(figures: list[Figure]) -> Path:
    """How many times its goal each figure reached, one bar each, on a logarithmic scale."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "tonglu"  # the same figures give the same file
    from matplotlib import pyplot as plt

    picture, axes = plt.subplots(figsize=(10, 0.62 * len(figures) + 1.5))
    for row, one in enumerate(figures):
        score, low, high = statistics.median(one.scores), min(one.scores), max(one.scores)
        colour = "#2f6fed" if one.reached else "#f08c00"
        axes.barh(row, score - 0.25, left=0.25, color=colour, height=0.5, zorder=2)
        axes.plot([low, high], [row, row], color="#12294f", linewidth=1.5, zorder=3)
        said = f"{one.ratio:.2f}   goal {one.goal_text}   ({one.absolute})"
        axes.text(max(score, high, 1) * 1.07, row, said, va="center", fontsize=9)
    axes.axvline(1, color="#12294f", linewidth=1.5, linestyle="--", zorder=1)
    axes.set_xscale("log", base=2)
    widest = max(max(one.scores) for one in figures)
    axes.set_xlim(0.25, max(widest, 1) * 8)
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 4, 8, 16) if tick <= max(widest, 1) * 2]
    axes.set_xticks(ticks, [f"{tick:g}x" if tick != 1 else "goal" for tick in ticks])
    axes.set_yticks(
        range(len(figures)), [f"{one.name}\nbeside {one.limit_name}" for one in figures], fontsize=9
    )
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.set_title("Ratio to the limit of the same run, drawn against its goal", loc="left")
    axes.set_xlabel(f"thin line: spread of the rounds · {machine()}", fontsize=8, loc="left")
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)
    picture.tight_layout()
    file = RESULTS / "latest.svg"
    picture.savefig(file, metadata={"Date": None})
    plt.close(picture)
    return file
