"""Errors are answers: RFC 9457 problem+json, zh or en, naming field, rule and way out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence in both languages; `{name}` is filled from the values of the problem."""

    zh: str
    en: str

    def say(self, language: str, values: Mapping[str, Any]) -> str:
        return (self.en if language == "en" else self.zh).format_map(values)


@dataclass(frozen=True, slots=True)
class Refusal:
    """How one kind of refusal is answered: status, stable slug, and what to do about it."""

    status: int
    slug: str
    text: Text


Refusals = Mapping[type[Exception], Refusal]


class Problem(Exception):
    """An answer that is not the one asked for. `values` fill the sentence and are sent along."""

    def __init__(self, refusal: Refusal, /, **values: Any) -> None:
        super().__init__(refusal.slug)
        self.refusal = refusal
        self.values = values


UNAUTHENTICATED = Refusal(
    401,
    "unauthenticated",
    Text(
        "请先登录：请求缺少有效的访问令牌（{reason}）。",
        "Sign in first: no valid access token ({reason}).",
    ),
)
FORBIDDEN = Refusal(
    403,
    "forbidden",
    Text("此操作需要以下角色之一：{roles}。", "This needs one of the roles {roles}."),
)
NOT_FOUND = Refusal(
    404,
    "not-found",
    Text("没有这项内容，或它不属于你。", "There is no such thing, or it is not yours."),
)
TOO_LARGE = Refusal(
    413,
    "body-too-large",
    Text("请求体超过 {limit} 字节，请拆分后再提交。", "The body is over {limit} bytes; split it."),
)
INVALID = Refusal(
    422,
    "invalid-request",
    Text("有 {count} 处内容不符合要求，见 errors。", "{count} fields break a rule, see errors."),
)
BUSY = Refusal(
    503,
    "busy",
    Text("系统繁忙，请稍后用同一请求重试。", "Busy now; send the same request again shortly."),
)
INTERNAL = Refusal(
    500,
    "internal",
    Text(
        "系统出错，已记录。请凭请求号联系管理员。",
        "An error on our side, logged under the request id.",
    ),
)

_RULES: dict[str, Text] = {
    "missing": Text("必填，请补充。", "Required: add it."),
    "extra_forbidden": Text("不认识的字段，请删除。", "Unknown field: remove it."),
    "string_too_long": Text("最多 {max_length} 个字符。", "At most {max_length} characters."),
    "string_too_short": Text("至少 {min_length} 个字符。", "At least {min_length} characters."),
    "string_pattern_mismatch": Text("格式应为 {pattern}。", "Must match {pattern}."),
    "too_long": Text(
        "最多 {max_length} 项，收到 {actual_length} 项；请拆分。",
        "At most {max_length} items, got {actual_length}; split it.",
    ),
    "too_short": Text("至少 {min_length} 项。", "At least {min_length} items."),
    "greater_than": Text("必须大于 {gt}。", "Must be greater than {gt}."),
    "greater_than_equal": Text("不得小于 {ge}。", "Must be at least {ge}."),
    "less_than": Text("必须小于 {lt}。", "Must be less than {lt}."),
    "less_than_equal": Text("不得大于 {le}。", "Must be at most {le}."),
    "decimal_max_places": Text(
        "最多 {decimal_places} 位小数。", "At most {decimal_places} decimal places."
    ),
    "decimal_max_digits": Text("最多 {max_digits} 位数字。", "At most {max_digits} digits."),
    "decimal_parsing": Text("应为十进制数字字符串。", "Must be a decimal number as a string."),
    "date_from_datetime_parsing": Text(
        "应为日期，如 2026-11-24。", "Must be a date, as 2026-11-24."
    ),
    "enum": Text("应为其中之一：{expected}。", "Must be one of {expected}."),
    "literal_error": Text("应为其中之一：{expected}。", "Must be one of {expected}."),
    "json_invalid": Text("不是合法的 JSON：{error}。", "Not valid JSON: {error}."),
}


def language_of(request: Request) -> str:
    """`en` where the caller prefers English, else `zh`."""
    best, best_q = "zh", 0.0
    for item in request.headers.get("accept-language", "").split(","):
        tag, _, quality = item.strip().partition(";q=")
        try:
            q = float(quality) if quality else 1.0
        except ValueError:
            continue
        language = tag.partition("-")[0].lower()
        if language in {"zh", "en"} and q > best_q:
            best, best_q = language, q
    return best


def _field_error(error: Mapping[str, Any], language: str) -> dict[str, str]:
    context = error.get("ctx", {})
    rule = error["type"]
    own = context.get("error")  # a ValueError of our own validator carries its own Text
    text = getattr(own, "text", None) or _RULES.get(rule)
    detail = text.say(language, {**context, **getattr(own, "values", {})}) if text else error["msg"]
    field = "/".join(str(part) for part in error["loc"] if part != "body")
    return {"field": f"/{field}", "rule": rule, "detail": detail}


def respond(request: Request, problem: Problem, **extra: Any) -> JSONResponse:
    """The problem as application/problem+json."""
    language = language_of(request)
    refusal = problem.refusal
    plain = {name: value for name, value in problem.values.items() if isinstance(value, str | int)}
    content = {
        **plain,
        "type": f"urn:tonglu:problem:{refusal.slug}",
        "title": refusal.slug.replace("-", " "),
        "status": refusal.status,
        "detail": refusal.text.say(language, problem.values),
        "instance": request.url.path,
        "request_id": getattr(request.state, "request_id", None),
        **extra,
    }
    headers = {"content-language": language}
    if refusal.status == UNAUTHENTICATED.status:
        headers["www-authenticate"] = "Bearer"
    if refusal.status == BUSY.status:
        headers["retry-after"] = "1"
    return JSONResponse(
        content, refusal.status, headers=headers, media_type="application/problem+json"
    )


def respond_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """A body or parameter that breaks a rule: each field with its rule and the way out."""
    language = language_of(request)
    errors = [_field_error(item, language) for item in error.errors()[:100]]
    return respond(request, Problem(INVALID, count=len(error.errors())), errors=errors)


class FieldRefusal(ValueError):
    """Raised by a validator of ours: a rule of one field, in both languages."""

    def __init__(self, text: Text, **values: Any) -> None:
        super().__init__(text.say("en", values))
        self.text = text
        self.values = values
