"""What a part of the stack is given to prepare itself with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Topic:
    """A Kafka topic to create; `config` holds the broker's own setting names."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    """How to run the stack.

    `durable=False` lets PostgreSQL skip fsync: for tests, whose data is thrown away. `postgres`:
    settings of it besides, as `name=value`.
    `people_file` is the JSON list of people that the OA and the identity provider know,
    `clients_file` that of the machine clients. The OA calls `webhook_url` after each change.
    """

    durable: bool = True
    postgres: tuple[str, ...] = ()
    kafka_java: tuple[str, ...] = ("-Xms256m", "-Xmx1g", "-XX:+UseG1GC")
    topics: tuple[Topic, ...] = ()
    databases: tuple[str, ...] = ()
    people_file: Path | None = None
    clients_file: Path | None = None
    webhook_url: str = ""
    webhook_secret: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """A part's own folder, its ports by name, the options, and `say` to report progress."""

    folder: Path
    port: Callable[[str], int]
    options: Options
    say: Callable[[str], None]
