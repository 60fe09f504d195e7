"""`tonglu topics` and `tonglu replay`: look at what happened, as often as you like."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from aiokafka import ConsumerRecord
from events import Malformed, Unrecognised, decode, topic_specs
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tonglu.output import Exit, Output, OutputOption, console, errors, show
from tonglu.reading import Range, bounds, partitions, reader, records
from tonglu.site import Site

app = typer.Typer(no_args_is_help=True, help="Look at topics. 查看主题。")

_FORMATS = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]


def _aware(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment is not None else None


def line(record: ConsumerRecord) -> dict[str, Any]:
    """One record as a flat object: place, envelope, event. Unreadable ones say why."""
    place = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": (record.key or b"").decode(errors="replace"),
    }
    try:
        found = decode(record.headers, record.value)
    except Malformed as problem:
        return place | {"type": "?", "problem": str(problem)}
    if isinstance(found, Unrecognised):
        return place | {"type": found.type, "id": str(found.id), "sequence": found.sequence}
    return place | {
        "type": found.event.TYPE,
        "id": str(found.id),
        "sequence": found.sequence,
        "time": found.time.isoformat(),
        "correlation": found.correlation_id,
        "causation": str(found.causation_id) if found.causation_id else None,
        "event": found.event.model_dump(mode="json", exclude_none=True),
    }


@app.command("ls")
def list_topics(output: OutputOption = Output.TABLE) -> None:
    """Every topic with its records.

    Example: tonglu topics ls -o json
    """

    async def run() -> list[dict[str, Any]]:
        async with reader(Site().address("KAFKA_BOOTSTRAP_SERVERS")) as consumer:
            rows = []
            for spec in topic_specs():
                places = await partitions(consumer, spec.name)
                first = await consumer.beginning_offsets(places) if places else {}
                end = await consumer.end_offsets(places) if places else {}
                count = sum(end[place] - first[place] for place in places)
                rows.append(
                    {
                        "topic": spec.name,
                        "partitions": len(places) or "missing",
                        "records": count,
                        "cleanup": spec.config.get("cleanup.policy", ""),
                    }
                )
            return rows

    show(asyncio.run(run()), output)


@app.command()
def tail(
    topic: Annotated[str, typer.Argument(help="for example claims.claim.v1")],
    key: Annotated[str | None, typer.Option(help="only this key, for example a claim id")] = None,
    since: Annotated[float, typer.Option(help="hours back to begin with")] = 0.0,
) -> None:
    """Follow a topic until Ctrl-C.

    Example: tonglu topics tail claims.claim.v1 --since 2
    """

    async def run() -> None:
        async with reader(Site().address("KAFKA_BOOTSTRAP_SERVERS")) as consumer:
            places = await _places(consumer, topic)
            begin = datetime.now(UTC) - timedelta(hours=since)
            ends = await consumer.end_offsets(places)
            starts = await bounds(consumer, places, Range(since=begin))
            consumer.assign(places)
            for place in places:
                consumer.seek(place, starts.get(place, (ends[place], 0))[0])
            while True:
                found = await consumer.getmany(timeout_ms=500)
                for record in (record for batch in found.values() for record in batch):
                    if key is None or record.key == key.encode():
                        console.print_json(json.dumps(line(record), ensure_ascii=False))

    asyncio.run(run())


async def _places(consumer: Any, topic: str) -> list[Any]:
    if places := await partitions(consumer, topic):
        return places
    errors.print(f"[red]No topic {topic}; `tonglu topics ls` names them. 没有这个主题。[/red]")
    raise typer.Exit(Exit.FAILED)


class Into(StrEnum):
    """Where replayed events go: to the eye or to a pipe. Never to a service."""

    STDOUT = "stdout"
    JSONL = "jsonl"


def replay(
    topic: Annotated[str, typer.Option(help="the topic to read")],
    from_: Annotated[
        datetime | None, typer.Option("--from", formats=_FORMATS, help="first moment")
    ] = None,
    to: Annotated[
        datetime | None, typer.Option("--to", formats=_FORMATS, help="stop before this moment")
    ] = None,
    key: Annotated[str | None, typer.Option(help="only this key")] = None,
    into: Annotated[
        Into, typer.Option(help="stdout: readable; jsonl: one object a line")
    ] = Into.STDOUT,
) -> None:
    """Read a stretch of a topic again; nothing is triggered, no offset moves.

    Example: tonglu replay --topic claims.claim.v1 --from 2026-11-01 --into jsonl > claims.jsonl
    """
    wanted = Range(_aware(from_), _aware(to), key)
    counts = asyncio.run(_replay(topic, wanted, into))
    errors.print(
        f"read {counts['read']} · filtered {counts['filtered']} · shown {counts['shown']}"
        f" · unreadable {counts['unreadable']}"
    )
    if counts["unreadable"]:
        raise typer.Exit(Exit.DIFFERENT)


async def _replay(topic: str, wanted: Range, into: Into) -> dict[str, int]:
    counts = {"read": 0, "filtered": 0, "shown": 0, "unreadable": 0}
    async with reader(Site().address("KAFKA_BOOTSTRAP_SERVERS")) as consumer:
        ranges = await bounds(consumer, await _places(consumer, topic), wanted)
        columns = (TextColumn(topic), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=errors, transient=True) as progress:
            task = progress.add_task(
                topic, total=sum(end - first for first, end in ranges.values())
            )
            async for batch in records(consumer, ranges):
                for record in batch:
                    _show_record(record, wanted, into, counts)
                progress.advance(task, len(batch))
    return counts


def _show_record(record: ConsumerRecord, wanted: Range, into: Into, counts: dict[str, int]) -> None:
    counts["read"] += 1
    if wanted.key is not None and record.key != wanted.key.encode():
        counts["filtered"] += 1
        return
    content = line(record)
    counts["unreadable" if "problem" in content else "shown"] += 1
    if into is Into.JSONL:
        sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
        return
    console.print(
        f"[dim]{content['partition']}/{content['offset']}[/dim] {content.get('time', '')}"
        f" [bold]{content['type']}[/bold] {content['key']}"
        f" {json.dumps(content.get('event', content.get('problem', '')), ensure_ascii=False)}"
    )
