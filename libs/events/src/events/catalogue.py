"""The catalogue for subscribers: one page per topic and an index, Chinese first, then English."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from events.event import Event, event_classes, topics
from events.topic import Pii, Topic

JsonObject = dict[str, Any]

PII: dict[Pii, str] = {
    "none": "无个人信息 / no personal data",
    "pseudonymous": "仅含内部编号 / internal ids only",
    "free_text": "内部编号与自由文本 / internal ids and free text",
    "personal": "含姓名与联系方式 / names and addresses",
}
CLEANUP = {
    "delete": "`delete`：期内每条都保留 / every record is kept for that time",
    "compact": "`compact`：每个键保留最新状态 / the latest state of each key is kept",
}
SUBSCRIBE = """\
import asyncio, json
from aiokafka import AIOKafkaConsumer

async def main():
    consumer = AIOKafkaConsumer("{topic}", bootstrap_servers="localhost:9092",
        group_id="my-system", auto_offset_reset="earliest", enable_auto_commit=False)
    async with consumer:
        async for record in consumer:
            headers = {{name: raw.decode() for name, raw in record.headers}}
            if headers["ce_type"] == "{type}"{guard}:
                print(headers["ce_id"], json.loads(record.value))  # {remember}
            await consumer.commit()

asyncio.run(main())
"""


INDEX = """\
# 事件契约 / Event contracts

本目录由 `libs/events` 生成，请勿手改：`make print-outs`。

Generated from `libs/events`; never edit by hand: `make print-outs`.

| 主题 / topic | 内容 / content | 写入方 / owner | 读取方 / readers | 键 / key | PII |
|---|---|---|---|---|---|
{rows}

- [asyncapi.json](asyncapi.json)：AsyncAPI 3.0，全部主题与消息 / every topic and message
- [topics.json](topics.json)：需创建的主题，含死信主题 / topics to create, dead letters too
- [schemas/](schemas/)：每种事件的 JSON Schema 2020-12 / one JSON Schema per event
- [released/](released/)：已发布版本，只增不改 / released contracts, only ever added to
"""
RULES = """\
## 约定 / Rules

{order}
- 请忽略未知的字段与类型；未知的枚举值绝不代表同意。 / Ignore fields and types that you do not know;
  an unknown enum value never means yes.
- 金额为十进制字符串，请勿转为浮点数。 / Amounts are decimal strings; never make them floats.
"""
ORDER = {
    "delete": """\
- 同一键的事件按 `ce_sequence` 有序且连续；可能重复送达，请以 `ce_id` 去重。 / Events of one key
  come in the order of `ce_sequence`, without a gap; one may come twice: remember its `ce_id`.""",
    "compact": """\
- 每条消息是完整状态：取 `ce_sequence` 较大者，序号可有间隔；值为空表示已删除。 / Each record is a
  whole state: the higher `ce_sequence` wins, gaps are normal, and no value means erased.""",
}


def index() -> str:
    """The table of all topics."""
    rows = [
        f"| [`{topic.name}`](topics/{topic.name}.md) | {topic.summary_zh}<br>{topic.summary} "
        f"| {topic.owner} | {_names(topic.readers)} | `{topic.key}` | {topic.pii} |"
        for topic in topics()
    ]
    return INDEX.format(rows="\n".join(rows))


def page(topic: Topic, examples: Mapping[str, JsonObject]) -> str:
    """One topic, with its events, their fields, golden examples and how to consume them."""
    events = [cls for cls in event_classes() if cls.TOPIC is topic]
    return "\n".join(
        [
            *_opening(topic),
            *_table_of(events),
            RULES.format(order=ORDER[topic.cleanup]),
            *[line for cls in events for line in _event(cls, examples[cls.TYPE])],
            *_how_to_consume(topic, events[0]),
        ]
    )


def _opening(topic: Topic) -> list[str]:
    facts = {
        "写入方 / owner": topic.owner,
        "读取方 / readers": _names(topic.readers),
        "键 / key": f"`{topic.key}`",
        "分区 / partitions": str(topic.partitions),
        "保留 / retention": _kept(topic),
        "清理 / cleanup": CLEANUP[topic.cleanup],
        "最大消息 / max.message.bytes": f"{topic.max_message_bytes:,}",
        "个人信息 / PII": PII[topic.pii],
    }
    rows = [f"| {name} | {fact} |" for name, fact in facts.items()]
    return [
        f"# {topic.name}",
        "",
        topic.summary_zh,
        "",
        topic.summary,
        "",
        "| | |",
        "|---|---|",
        *rows,
        "",
    ]


def _table_of(events: list[type[Event]]) -> list[str]:
    rows = [
        f"| [`{cls.TYPE}`](#{_anchor(cls)}) | {cls.SUMMARY_ZH}<br>{_sentence(cls)} |"
        for cls in events
    ]
    return ["## 事件 / Events", "", "| `ce_type` | |", "|---|---|", *rows, ""]


def _event(cls: type[Event], example: JsonObject) -> list[str]:
    schema = cls.model_json_schema(mode="serialization")
    rows = [
        f"| `{path}` | {kind} | {'✓' if required else ''} | {note} |"
        for path, kind, required, note in _fields(schema, schema.get("$defs", {}))
    ]
    return [
        f"## {cls.TYPE}",
        "",
        f"**{cls.__name__}** ([JSON Schema](../schemas/{cls.TYPE}.json))",
        "",
        cls.SUMMARY_ZH,
        "",
        _sentence(cls),
        "",
        "| 字段 / field | 类型 / type | 必填 / required | 说明 / note |",
        "|---|---|---|---|",
        *rows,
        "",
        "```json",
        json.dumps(example, ensure_ascii=False, indent=2),
        "```",
        "",
    ]


Row = tuple[str, str, bool, str]


def _fields(schema: JsonObject, defs: JsonObject, prefix: str = "") -> Iterator[Row]:
    """Each field, and behind it the fields inside it, as `lines[].amount.currency`."""
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        inner = _resolve(field, defs)
        path = prefix + name + ("[]" if inner.get("type") == "array" else "")
        note = field.get("description", "")
        yield path, _kind(inner, defs), name in required, _with_default(note, field)
        element = _resolve(inner.get("items", {}), defs) if "items" in inner else inner
        if "properties" in element:
            yield from _fields(element, defs, f"{path}.")


def _resolve(schema: JsonObject, defs: JsonObject) -> JsonObject:
    """The schema behind a reference or behind `X or null`."""
    for choice in schema.get("anyOf", []):
        if choice.get("type") != "null":
            return _resolve(choice, defs)
    if "$ref" in schema:
        found: JsonObject = defs[schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def _kind(schema: JsonObject, defs: JsonObject) -> str:
    if "x-extensible-enum" in schema:
        return " · ".join(f"`{value}`" for value in schema["x-extensible-enum"]) + " · …"
    if schema.get("type") == "array":
        return f"array of {_kind(_resolve(schema['items'], defs), defs)}"
    kind = str(schema.get("format", schema["type"]))
    if "maxLength" in schema:
        kind += f", ≤ {schema['maxLength']}"
    if "minimum" in schema:
        kind += f", ≥ {schema['minimum']}"
    if "pattern" in schema:
        kind += f", `{schema['pattern'].replace('|', chr(92) + '|')}`"
    return kind


def _with_default(note: str, field: JsonObject) -> str:
    default = field.get("default")
    if default is None:
        return note
    said = f"默认 / default `{json.dumps(default, ensure_ascii=False)}`"
    return f"{note}; {said}" if note else said


def _how_to_consume(topic: Topic, first: type[Event]) -> list[str]:
    compacted = topic.cleanup == "compact"
    snippet = SUBSCRIBE.format(
        topic=topic.name,
        type=first.TYPE,
        guard=" and record.value" if compacted else "",
        remember="keep the highest ce_sequence" if compacted else "skip a ce_id seen before",
    )
    return ["## 如何消费 / How to consume", "", "```python", snippet.rstrip(), "```", ""]


def _kept(topic: Topic) -> str:
    if topic.retention is None:
        return "永久 / for ever"
    days = topic.retention // timedelta(days=1)
    return f"{days} 天 / days"


def _names(readers: tuple[str, ...]) -> str:
    return ", ".join(readers) or "—"


def _anchor(cls: type[Event]) -> str:
    return cls.TYPE.replace(".", "")


def _sentence(cls: type[Event]) -> str:
    return " ".join((cls.__doc__ or "").split())
