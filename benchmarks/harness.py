"""Interleaves a limit and the system under test, and keeps the ratio with its spread.

Both run on the same servers in the same minute: the machine's noise meets both alike.
"""

import json
import platform
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROUNDS = 5
RESULTS = Path(__file__).parent / "results"
console = Console(highlight=False)

Run = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One goal: what the system did, beside what the machine can do at all."""

    name: str
    unit: str
    limit_name: str
    goal: float  # the ratio to reach; where lower is better, the ratio to stay under
    limits: list[float] = field(default_factory=list)
    systems: list[float] = field(default_factory=list)
    lower_is_better: bool = False
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        return [mine / limit for mine, limit in zip(self.systems, self.limits, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool:
        return self.ratio <= self.goal if self.lower_is_better else self.ratio >= self.goal


async def interleave(figure: Figure, limit: Run, system: Run, *, rounds: int = ROUNDS) -> Figure:
    """Limit, system, limit, system, …; a first round of each is thrown away as warm-up."""
    await limit()
    await system()
    for number in range(rounds):
        figure.limits.append(await limit())
        figure.systems.append(await system())
        console.print(
            f"[dim]{figure.name} {number + 1}/{rounds}:"
            f" {figure.systems[-1]:,.0f} of {figure.limits[-1]:,.0f} {figure.unit}[/dim]"
        )
    return figure


def show(figures: list[Figure]) -> None:
    """The table that goes into the README."""
    table = Table(title="ratio to a limit measured in the same run", title_justify="left", box=None)
    for column in ("what", "beside", "ratio", "spread", "goal", "absolute", ""):
        table.add_column(column, justify="right" if column in {"ratio", "goal"} else "left")
    for one in figures:
        sign = "≤" if one.lower_is_better else "≥"
        table.add_row(
            one.name,
            one.limit_name,
            f"{one.ratio:.2f}",
            f"{min(one.ratios):.2f}–{max(one.ratios):.2f}",
            f"{sign} {one.goal:g}",
            f"{statistics.median(one.systems):,.0f} {one.unit}",
            "[green]reached[/green]" if one.reached else "[yellow]not yet[/yellow]",
        )
    console.print(table)


def save(figures: list[Figure], reported: dict[str, object]) -> Path:
    """Everything measured, as JSON, with the machine it was measured on."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "latest.json"
    content = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "figures": [asdict(one) | {"ratio": one.ratio, "reached": one.reached} for one in figures],
        "reported": reported,
    }
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    return file


def chart(figures: list[Figure]) -> Path:
    """Ratio beside goal, one bar per figure."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    higher = [one for one in figures if not one.lower_is_better]
    picture, axes = plt.subplots(figsize=(9, 0.7 * len(higher) + 1.2))
    names = [f"{one.name}\nbeside {one.limit_name}" for one in higher]
    axes.barh(names, [one.ratio for one in higher], color="#2f6fed", height=0.5, zorder=2)
    for row, one in enumerate(higher):
        low, high = min(one.ratios), max(one.ratios)
        axes.plot([low, high], [row, row], color="#12294f", linewidth=1.5, zorder=3)
        axes.plot([one.goal] * 2, [row - 0.32, row + 0.32], color="#d9480f", linewidth=2, zorder=4)
        axes.text(max(one.ratio, high, one.goal) + 0.01, row, f"{one.ratio:.2f}", va="center")
    axes.set_xlabel("ratio to the limit (orange: goal; dark line: spread of the rounds)")
    axes.invert_yaxis()
    axes.grid(axis="x", color="#e5e7eb", zorder=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    picture.tight_layout()
    file = RESULTS / "latest.svg"
    picture.savefig(file)
    return file
