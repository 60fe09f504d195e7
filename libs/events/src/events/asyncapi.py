"""The contracts as one AsyncAPI 3.0 document: channels, who sends, who receives, every message."""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from events.event import Event, event_classes, topics
from events.topic import Topic

BINDING = "0.5.0"  # of the Kafka binding
JsonObject = dict[str, Any]


def document(version: str, examples: Mapping[str, JsonObject]) -> JsonObject:
    """The whole document; `examples` holds one golden example (headers and value) per type."""
    refs, definitions = models_json_schema(
        [(cls, "serialization") for cls in event_classes()],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "同路 Tonglu: events",
            "version": version,
            "description": (
                "Facts about travel-expense claims, their approval and payment. "
                "CloudEvents 1.0 in Kafka binary mode: ce_ headers, JSON in the value."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in topics()},
        "operations": {
            name: operation for topic in topics() for name, operation in _operations(topic).items()
        },
        "components": {
            "messages": {
                cls.TYPE: _message(cls, refs[cls, "serialization"], examples[cls.TYPE])
                for cls in event_classes()
            },
            "schemas": definitions["$defs"],
        },
    }


def _channel(topic: Topic) -> JsonObject:
    configuration: JsonObject = {
        "cleanup.policy": [topic.cleanup],
        "retention.ms": int(topic.config()["retention.ms"]),
        "max.message.bytes": topic.max_message_bytes,
    }
    if "delete.retention.ms" in topic.config():
        configuration["delete.retention.ms"] = int(topic.config()["delete.retention.ms"])
    return {
        "address": topic.name,
        "title": topic.summary_zh,
        "description": topic.summary,
        "messages": {
            cls.TYPE: {"$ref": f"#/components/messages/{cls.TYPE}"} for cls in _events_of(topic)
        },
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": configuration,
                "bindingVersion": BINDING,
            }
        },
        "x-owner": topic.owner,
        "x-pii": topic.pii,
    }


def _operations(topic: Topic) -> dict[str, JsonObject]:
    subject = {
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "messages": [
            {"$ref": f"#/channels/{topic.name}/messages/{cls.TYPE}"} for cls in _events_of(topic)
        ],
    }
    sends = {
        f"{topic.owner}.sends.{topic.name}": {
            "action": "send",
            "summary": f"{topic.owner} is the only writer of {topic.name}.",
            **subject,
        }
    }
    receives = {
        f"{group}.receives.{topic.name}": {
            "action": "receive",
            "summary": f"{group} reads {topic.name}.",
            **subject,
            "bindings": {
                "kafka": {
                    "groupId": {"type": "string", "const": group},
                    "bindingVersion": BINDING,
                }
            },
        }
        for group in topic.readers
    }
    return sends | receives


def _message(cls: type[Event], payload: JsonObject, example: JsonObject) -> JsonObject:
    return {
        "name": cls.TYPE,
        "title": cls.__name__,
        "summary": cls.SUMMARY_ZH,
        "description": cls.__doc__,
        "contentType": "application/json",
        "headers": _headers(cls),
        "payload": payload,
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": f"the event's {cls.TOPIC.key}"},
                "bindingVersion": BINDING,
            }
        },
        "examples": [
            {"name": "golden", "headers": example["headers"], "payload": example["value"]}
        ],
    }


def _headers(cls: type[Event]) -> JsonObject:
    required: JsonObject = {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string", "format": "uuid", "description": "the same in every copy"},
        "ce_source": {"type": "string", "const": cls.TOPIC.source},
        "ce_type": {"type": "string", "const": cls.TYPE},
        "ce_subject": {"type": "string", "description": f"the event's {cls.TOPIC.key}"},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_sequence": {
            "type": "string",
            "pattern": "^[1-9][0-9]*$",
            "description": "counts the events of this key from 1 without a gap",
        },
        "ce_correlationid": {
            "type": "string",
            "description": "the document at the head of the road",
        },
        "content-type": {"type": "string", "const": "application/json"},
    }
    optional: JsonObject = {
        "ce_causationid": {"type": "string", "format": "uuid", "description": "led to this one"},
        "traceparent": {"type": "string", "description": "W3C trace context"},
    }
    return {"type": "object", "required": list(required), "properties": required | optional}


def _events_of(topic: Topic) -> list[type[Event]]:
    return [cls for cls in event_classes() if cls.TOPIC is topic]
