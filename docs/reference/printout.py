# ruff: noqa: INP001 -- a script, not a package
"""Print the reference of a profile, out of the models that check one: `make print-outs`."""

import inspect
import types
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from annotated_types import Ge, MinLen
from oa_connector.vendors import http_profile, soap_profile
from oa_connector.vendors.http_profile.model import HttpCall
from oa_connector.vendors.http_profile.model import Profile as HttpProfile
from oa_connector.vendors.profile.model import ProfileBase
from oa_connector.vendors.profile.reading import Judged, Part, checked_path
from oa_connector.vendors.soap_profile.model import Profile as SoapProfile
from oa_connector.vendors.soap_profile.model import SoapCall
from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo

PAGE = Path(__file__).parent / "profile.md"
SHIPPED = Path(http_profile.__file__).parents[2] / "profiles"
_EVERYWHERE = {"Extractor", "Sign", "Status"}  # the field says more by its name
_SIMPLE = {str: "text", bool: "`true` or `false`", int: "a whole number", Any: "anything"}

_INTRO = """\
# What a profile can say · 配置参考

Generated from the models that check a profile; never edit by hand: `make print-outs`.
How to write one: [connect an OA](../howto/connect-an-oa.md).
由检查配置的模型生成，请勿手改：`make print-outs`。
怎样写一份：[接入一个 OA](../howto/connect-an-oa.zh-CN.md)。

A profile is one YAML file. What this page does not name is a mistake, not an extra.
Where the default is **needed**, the field must be there; — is nothing.
一份配置是一个 YAML 文件；本页没有的字段即为错误。
默认值一栏：**needed** 为必填，— 为空。
"""
_SIGN_IN = """
```yaml
auth: {kind: basic, username: name_of_a_secret, password: name_of_another}
auth: {kind: bearer, token: name_of_a_secret}
auth: {kind: headers, headers: {X-Api-Key: name_of_a_secret}}
```

The secrets themselves stand in `secret_files` of the tenant, under these names.
密钥本身按这些名字写在租户的 `secret_files` 里。
"""
_PLACEHOLDERS = """
## Placeholders · 占位符

`${name}` stands for what we fill in, in any text of a call; nothing in it runs. `$$` is a dollar
sign. A text that is nothing but `${approvers}` or `${details}` becomes a list of texts; in a
longer text they stand one a line. In an address, its parameters and a header a value may hold
letters, digits, spaces and `.:@+/_-`: with anything else nothing is sent.

占位符由我们填写，其中没有代码；`$$` 是一个美元符号。整个文本只有 `${approvers}` 或
`${details}` 时成为列表，夹在文本里则每行一个。地址、参数与请求头里的值只许字母、数字、
空格和 `.:@+/_-`，否则不发送。
"""
_MEANS = {
    "amount": "the total, such as `1280.00`",
    "approvers": "the accounts of those who are asked, in their order; a list",
    "attempt": "which try to create it: 1, 2 and so on",
    "begins": "from when, as `clock` writes times",
    "business_key": "our name for the process: the OA must keep it, and find it",
    "claim_url": "where an approver sees the document",
    "content_hash": "the fingerprint of what was handed in: the OA must keep and show it",
    "currency": "such as `CNY`",
    "cursor": "where the next page begins: `first`, then what `next` found",
    "details": "the document in rows of text; a list",
    "document_id": "the id of the document",
    "ends": "until when, as `clock` writes times",
    "instance_id": "the OA's id of the process, as `create` found it",
    "note_id": "what an earlier one of the `details` found as its `note_id`",
    "person": "the account that is looked up",
    "reason": "why it is ended; a text for people",
    "step_id": "the OA's id of the step",
    "submitter": "the account of who handed it in",
    "template": "what `templates` has for this kind of document",
    "text": "the note, for people",
    "title": "one line for people",
}


def page() -> str:
    """The whole page; the same models give the same bytes."""
    text = _INTRO + _section("The file · 整份文件", ProfileBase, list(_fields(ProfileBase)))
    text += _section("Over HTTP, beside those · HTTP 另有", HttpProfile, _own(HttpProfile))
    text += _SIGN_IN
    text += _section("Over SOAP, beside those · SOAP 另有", SoapProfile, _own(SoapProfile))
    text += _section("Call", Judged, [])
    for title, kind in (("A call over HTTP", HttpCall), ("A call over SOAP", SoapCall)):
        own = [one for one in _fields(kind) if one[0] not in Judged.model_fields]
        text += _section(title, kind, own, level=3)
    text += _table("Both judge the answer · 两者都判断回答", list(_fields(Judged)))
    for part in _parts(ProfileBase, HttpProfile, SoapProfile):
        text += _section(_name(part), part, list(_fields(part)))
    return text + _PLACEHOLDERS + _places()


def _section(
    title: str, model: type[BaseModel], fields: list[tuple[str, FieldInfo]], level: int = 2
) -> str:
    said = f"\n{'#' * level} {title}\n\n{_told(model)}\n"
    return said + _table("", fields)


def _told(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "")


def _table(title: str, fields: list[tuple[str, FieldInfo]]) -> str:
    """The fields. Those without a description are told by the sentences above."""
    rows = [_row(name, field) for name, field in fields]
    columns = ("field", "what stands there", "default", "meaning")
    width = len(columns) if any(row[-1] for row in rows) else len(columns) - 1
    lines = [columns, ("---",) * len(columns), *rows] if rows else []
    table = "".join(f"| {' | '.join(line[:width])} |\n" for line in lines)
    return (f"\n{title}:\n" if title else "") + (f"\n{table}" if table else "")


def _row(name: str, field: FieldInfo) -> tuple[str, ...]:
    cells = (f"`{name}`", _kind(field.annotation, field.metadata), _default(field), _means(field))
    return tuple(cell.replace("|", "\\|") for cell in cells)


def _means(field: FieldInfo) -> str:
    """Its description, or what the one part or word that stands there says of itself."""
    if field.description:
        return field.description
    kinds = [one for one in _within(field.annotation) if _name(one) not in _EVERYWHERE]
    return _told(kinds[0]).partition("\n\n")[0].replace("\n", " ") if len(kinds) == 1 else ""


def _within(kind: Any) -> list[type]:
    """The parts and words in a type, through unions and lists."""
    if isinstance(kind, type) and issubclass(kind, BaseModel | StrEnum):
        return [kind]
    return [found for one in get_args(kind) for found in _within(one)]


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if not field.exclude:  # such a one is set when it is loaded
            yield field.alias or name, field


def _own(profile: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """What one transport adds to every profile."""
    return [one for one in _fields(profile) if one[0] not in ProfileBase.model_fields]


def _kind(kind: Any, more: list[Any]) -> str:
    """A type in plain words."""
    if any(isinstance(one, AfterValidator) and one.func is checked_path for one in more):
        return "a JSONPath"
    return _plain(kind) + "".join(_bound(one) for one in more)


def _bound(rule: Any) -> str:
    match rule:
        case Ge():
            return f", at least {rule.ge}"
        case MinLen():
            return ", not empty"
        case _:
            pattern = getattr(rule, "pattern", None)
            return f" that fits `{pattern}`" if pattern else ""


def _plain(kind: Any) -> str:
    match get_origin(kind):
        case None:
            return _simple(kind)
        case origin if origin is Literal:
            return " or ".join(f"`{one}`" for one in get_args(kind))
        case origin if origin in {Union, types.UnionType}:
            return " or ".join(_plain(one) for one in get_args(kind) if one is not types.NoneType)
        case origin if origin is tuple:
            return f"a list of: {_plain(get_args(kind)[0])}"
        case origin if origin is dict:
            name, value = map(_plain, get_args(kind))
            return f"for each {name}: {value}"
        case _:  # Annotated
            return _kind(get_args(kind)[0], list(get_args(kind)[1:]))


def _simple(kind: Any) -> str:
    if isinstance(kind, TypeVar):
        return "a [call](#call)"
    if issubclass(kind, StrEnum):
        return " or ".join(f"`{one}`" for one in kind)
    if issubclass(kind, BaseModel):
        return f"[{_name(kind)}](#{_name(kind).lower()})"
    return _SIMPLE[kind]


def _name(kind: type) -> str:
    return kind.__name__.partition("[")[0]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    default = field.get_default(call_default_factory=True)
    match default:
        case StrEnum() | bool() | int():
            return f"`{str(default).lower()}`"
        case str() if default:
            return f"`{default}`"
        case tuple() if default:
            flow = yaml.safe_dump(
                [one.model_dump(mode="json", exclude_defaults=True) for one in default],
                default_flow_style=True,
                width=1000,
            )
            return f"`{flow.strip()}`"
        case _:
            return "—"


def _parts(*models: type[BaseModel]) -> list[type[BaseModel]]:
    """The parts of a profile and theirs, each once, in the order in which they come."""
    found: dict[str, type[BaseModel]] = {}

    def look(model: type[BaseModel]) -> None:
        for field in model.model_fields.values():
            for one in _within(field.annotation):
                if (
                    issubclass(one, Part)
                    and not issubclass(one, Judged)
                    and _name(one) not in found
                ):
                    found[_name(one)] = one
                    look(one)

    for model in models:
        look(model)
    return list(found.values())


def _places() -> str:
    """Which placeholder may stand in which call, by the profiles that come along."""
    web = http_profile.load_profile(SHIPPED / "rt5.yaml").calls()
    soap = soap_profile.load_profile(SHIPPED / "workflow-soap.yaml").calls()
    places: dict[str, frozenset[str]] = {}
    for place, _, known in (*web, *soap):
        places[place] = places.get(place, known) | known
    rows = "".join(
        f"| `{place}` | {', '.join(f'`{name}`' for name in sorted(known)) or '—'} |\n"
        for place, known in places.items()
    )
    means = "".join(
        f"| `${{{name}}}` | {_MEANS[name]} |\n"
        for name in sorted(frozenset().union(*places.values()))
    )
    return (
        f"\n| in the call of | can stand |\n|---|---|\n{rows}"
        "\n`step_id` of `withdraw`: only with `per: step`.\n"
        f"\n| placeholder | is |\n|---|---|\n{means}"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
