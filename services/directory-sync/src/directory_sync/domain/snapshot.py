"""One whole snapshot of the source, and every rule that it must keep before anyone believes it."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from events import DepartmentId, EmployeeId

MAX_TEXT = 200
LANGUAGES = ("zh", "en")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ROLE = re.compile(r"[a-z][a-z0-9-]{0,39}")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

# Rule -> what is wrong and the way out, in Chinese and in English.
RULES: Mapping[str, tuple[str, str]] = {
    "missing-file": (
        "找不到文件或无法读取：{reason}。请放入该文件。",
        "The file cannot be read: {reason}. Put it there.",
    ),
    "too-large": (
        "文件超过 {limit} 字节。请确认导出内容。",
        "The file is over {limit} bytes. Check the export.",
    ),
    "encoding": (
        "既不是完好的 UTF-8，也不是 GB18030（字节 {byte}）。请另存为 UTF-8。",
        "Neither sound UTF-8 nor GB18030 (byte {byte}). Save it as UTF-8.",
    ),
    "not-csv": (
        "不是合法的 CSV：{reason}。文件可能被截断，请重新导出。",
        "Not valid CSV: {reason}. The file may be cut off; export it again.",
    ),
    "missing-column": ("缺少这一列，请补上。", "This column is missing: add it."),
    "duplicate-column": ("这一列出现了多次，请只保留一列。", "This column occurs twice: keep one."),
    "ragged-row": (
        "应有 {expected} 列，实有 {actual} 列。文件可能被截断，请重新导出。",
        "{actual} fields where {expected} are due. The file may be cut off; export it again.",
    ),
    "row-count-missing": (
        "缺少末行 #rows=N，无法证明文件完整。请补上，或设置 REQUIRE_ROW_COUNT=false。",
        "No last line #rows=N proves the file whole. Add it, or set REQUIRE_ROW_COUNT=false.",
    ),
    "row-count": (
        "末行声明 {declared} 行，实有 {actual} 行。文件不完整，请重新导出。",
        "The last line declares {declared} rows, there are {actual}. Export the file again.",
    ),
    "after-row-count": (
        "#rows=N 之后还有内容。它必须是最后一行。",
        "Something follows #rows=N. It must be the last line.",
    ),
    "no-final-newline": (
        "最后一行没有换行，文件可能被截断。请重新导出。",
        "The last line has no line break: the file may be cut off. Export it again.",
    ),
    "required": ("必填，请补充。", "Required: fill it in."),
    "control-character": ("含有控制字符，请删除。", "It holds a control character: remove it."),
    "too-long": ("最多 {limit} 个字符。", "At most {limit} characters."),
    "bad-id": (
        "编号只能含字母、数字和 . _ -，最多 64 个字符。",
        "An id has letters, digits and . _ - only, at most 64.",
    ),
    "bad-email": ("不是邮箱地址，请改正或留空。", "Not an e-mail address: correct or empty it."),
    "bad-role": (
        "角色只能含小写字母、数字和 -，用 ; 分隔。",
        "A role has small letters, digits and - only; separate roles with ;.",
    ),
    "unknown-language": ("只支持 {known}。", "Must be one of {known}."),
    "duplicate-id": (
        "编号 {id} 在第 {first} 行已出现，请去重。",
        "The id {id} is already on line {first}: keep one.",
    ),
    "unknown-reference": (
        "找不到编号 {id}，请补充该行或改正。",
        "There is no {id}: add its row or correct it.",
    ),
    "cycle": (
        "上下级成环：{path}。请改正其中一个上级。",
        "A cycle: {path}. Correct one of the links.",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that the source breaks, with its place. `line` counts from 1; 0: the whole file."""

    file: str
    line: int
    field: str
    rule: str
    values: Mapping[str, str | int] = dataclasses.field(default_factory=dict)

    def say(self, language: str) -> str:
        """The rule and the way out, in `zh` or `en`."""
        zh, en = RULES[self.rule]
        return (en if language == "en" else zh).format_map(self.values)


@dataclass(frozen=True, slots=True)
class Row:
    """One row as the source has it, values trimmed, with its place."""

    file: str
    line: int
    fields: Mapping[str, str]

    def broken(self, column: str, rule: str, **values: str | int) -> Finding:
        return Finding(self.file, self.line, column, rule, values)


@dataclass(frozen=True, slots=True)
class Person:
    """A person who works here, as the source names them. `manager_id` None: the head of all."""

    employee_id: EmployeeId
    name: str
    email: str | None
    department_id: DepartmentId
    manager_id: EmployeeId | None
    roles: tuple[str, ...]
    language: str


@dataclass(frozen=True, slots=True)
class Department:
    """A department that exists. `parent_id` None: the top of a tree."""

    department_id: DepartmentId
    name: str
    parent_id: DepartmentId | None
    head_id: EmployeeId | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everyone and every department, at one moment; `digest`: SHA-256 of the source's bytes."""

    people: tuple[Person, ...]
    departments: tuple[Department, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading the source: a whole sound snapshot, or what is wrong with it."""

    digest: str
    findings: tuple[Finding, ...]
    snapshot: Snapshot | None = None


PEOPLE_COLUMNS = (
    "employee_id", "name", "email", "department_id", "manager_id", "roles", "language",
)  # fmt: skip
DEPARTMENT_COLUMNS = ("department_id", "name", "parent_id", "head_id")
_REQUIRED = {"employee_id", "department_id", "name"}
_IDS = {"employee_id", "department_id", "manager_id", "parent_id", "head_id"}


def read_rows(people: Sequence[Row], departments: Sequence[Row], digest: str) -> Reading:
    """Check every rule on every row; a snapshot only when all of them hold."""
    findings = [finding for row in (*people, *departments) for finding in _check_fields(row)]
    person_of, twice = _by_id(people, "employee_id")
    department_of, also_twice = _by_id(departments, "department_id")
    findings += [*twice, *also_twice]
    findings += _dangling(people, "department_id", department_of)
    findings += _dangling(people, "manager_id", person_of)
    findings += _dangling(departments, "parent_id", department_of)
    findings += _dangling(departments, "head_id", person_of)
    findings += _cycles(person_of, "manager_id")
    findings += _cycles(department_of, "parent_id")
    if findings:
        ordered = sorted(findings, key=lambda found: (found.file, found.line))
        return Reading(digest, tuple(ordered))
    snapshot = Snapshot(
        tuple(_person(row) for row in people),
        tuple(_department(row) for row in departments),
        digest,
    )
    return Reading(digest, (), snapshot)


def _check_fields(row: Row) -> Iterator[Finding]:
    for column, value in row.fields.items():
        if not value:
            if column in _REQUIRED:
                yield row.broken(column, "required")
        elif _CONTROL.search(value):
            yield row.broken(column, "control-character")
        elif len(value) > MAX_TEXT:
            yield row.broken(column, "too-long", limit=MAX_TEXT)
        elif column in _IDS:
            if not _ID.fullmatch(value):
                yield row.broken(column, "bad-id")
        elif (check := _CHECKS.get(column)) and not check(value):
            rule = _RULE_OF[column]
            yield row.broken(column, rule, known=", ".join(LANGUAGES))


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "email": lambda value: _EMAIL.fullmatch(value) is not None,
    "roles": lambda value: all(_ROLE.fullmatch(role) for role in _roles(value)),
    "language": lambda value: value in LANGUAGES,
}
_RULE_OF = {"email": "bad-email", "roles": "bad-role", "language": "unknown-language"}


def _by_id(rows: Iterable[Row], column: str) -> tuple[dict[str, Row], list[Finding]]:
    found: dict[str, Row] = {}
    twice = []
    for row in rows:
        if not (id_ := row.fields[column]):
            continue
        first = found.setdefault(id_, row)
        if first is not row:
            twice.append(row.broken(column, "duplicate-id", id=id_, first=first.line))
    return found, twice


def _dangling(rows: Iterable[Row], column: str, known: Mapping[str, Row]) -> Iterator[Finding]:
    for row in rows:
        if (id_ := row.fields[column]) and id_ not in known:
            yield row.broken(column, "unknown-reference", id=id_[:64])


def _cycles(rows: Mapping[str, Row], column: str) -> Iterator[Finding]:
    """Each cycle once; every row is walked over once, whatever the depth."""
    settled: set[str] = set()
    for start in rows:
        path: dict[str, None] = {}
        id_ = start
        while id_ in rows and id_ not in settled and id_ not in path:
            path[id_] = None
            id_ = rows[id_].fields[column]
        if id_ in path:
            ring = [*path][[*path].index(id_) :]
            shown = [*ring[:8], "…"] if len(ring) > 8 else [*ring, id_]  # noqa: PLR2004
            yield rows[id_].broken(column, "cycle", path=" → ".join(shown))
        settled.update(path)


def _person(row: Row) -> Person:
    fields = row.fields
    return Person(
        employee_id=EmployeeId(fields["employee_id"]),
        name=fields["name"],
        email=fields["email"] or None,
        department_id=DepartmentId(fields["department_id"]),
        manager_id=EmployeeId(fields["manager_id"]) if fields["manager_id"] else None,
        roles=_roles(fields["roles"]),
        language=fields["language"] or LANGUAGES[0],
    )


def _department(row: Row) -> Department:
    fields = row.fields
    return Department(
        department_id=DepartmentId(fields["department_id"]),
        name=fields["name"],
        parent_id=DepartmentId(fields["parent_id"]) if fields["parent_id"] else None,
        head_id=EmployeeId(fields["head_id"]) if fields["head_id"] else None,
    )


def _roles(text: str) -> tuple[str, ...]:
    return tuple(sorted({role.strip() for role in text.split(";") if role.strip()}))
