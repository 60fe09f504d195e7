"""The shape of every event, and the registry that finds its class by its wire type."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from events.topic import Topic

_BY_TYPE: dict[str, type["Event"]] = {}


class Event(BaseModel):
    """A fact that has happened: immutable, and read tolerantly (unknown fields are ignored).

    A subclass names its TOPIC and its TYPE (`claim.submitted.v1`, never a class path); both are
    checked when the class is made.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        ser_json_timedelta="iso8601",
        hide_input_in_errors=True,  # what a record holds stays out of logs and dead letters
    )

    TOPIC: ClassVar[Topic]
    TYPE: ClassVar[str]
    SUMMARY_ZH: ClassVar[str] = ""  # the docstring's sentence in Chinese, for the catalogue

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if cls.TYPE in _BY_TYPE:
            raise TypeError(f"{cls.__name__}: type {cls.TYPE!r} is taken by {_BY_TYPE[cls.TYPE]}")
        if cls.TOPIC.key not in cls.model_fields:
            raise TypeError(f"{cls.__name__}: the key field {cls.TOPIC.key!r} is missing")
        _BY_TYPE[cls.TYPE] = cls

    @property
    def key(self) -> str:
        """The record key: the id of the aggregate whose history this event belongs to."""
        return str(getattr(self, self.TOPIC.key))


def event_class(type_: str) -> type[Event] | None:
    """The class of a wire type, or None when this release does not know it."""
    return _BY_TYPE.get(type_)


def event_classes() -> tuple[type[Event], ...]:
    """Every event of the contracts, in the order of their topics and types.

    A class made outside this package, as in a test, can be read but is no contract.
    """
    contracts = [cls for cls in _BY_TYPE.values() if cls.__module__.startswith("events.")]
    return tuple(sorted(contracts, key=lambda cls: (cls.TOPIC.name, cls.TYPE)))


def topics() -> tuple[Topic, ...]:
    """Every topic that has at least one event, by name."""
    return tuple(sorted({cls.TOPIC for cls in event_classes()}, key=lambda topic: topic.name))
