"""The files as they come: whole or refused, each problem with its line and field."""

from pathlib import Path

import pytest
from directory_sync.domain.snapshot import RULES, Reading
from directory_sync.sources.files import Files

PEOPLE = "employee_id,name,email,department_id,manager_id,roles,language\n"
DEPARTMENTS = "department_id,name,parent_id,head_id\n"


async def read(folder: Path, *, require_row_count: bool = True) -> Reading:
    return await Files(folder, require_row_count).read()


def write(folder: Path, people: str | bytes, departments: str | bytes | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    departments = f"{DEPARTMENTS}D1,研发,,\n#rows=1\n" if departments is None else departments
    for name, content in (("people.csv", people), ("departments.csv", departments)):
        raw = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(raw)
    return folder


def said(reading: Reading) -> list[tuple[str, int, str, str]]:
    return [(it.file, it.line, it.field, it.rule) for it in reading.findings]


async def test_the_example_company_is_sound(company) -> None:
    reading = await read(company)
    assert reading.findings == ()
    by_id = {person.employee_id: person for person in reading.snapshot.people}
    assert by_id["E1001"].manager_id == "E1002"
    assert by_id["E1003"].roles == ("finance",)
    assert by_id["E1004"].manager_id is None
    assert by_id["E1010"].language == "en"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
async def test_each_encoding_and_line_break_reads_the_same(tmp_path, encoding, line_break) -> None:
    people = f"{PEOPLE}E1,林晓,lin@example.com,D1,,finance; admin,\n#rows=1\n"
    people = people.replace("\n", line_break)
    reading = await read(write(tmp_path, people.encode(encoding)))
    assert reading.findings == ()
    (person,) = reading.snapshot.people
    assert (person.name, person.roles, person.language) == ("林晓", ("admin", "finance"), "zh")


async def test_damaged_utf8_is_never_read_as_gb18030(tmp_path) -> None:
    content = f"{PEOPLE}E1,林晓晓晓,,D1,,,\nE2,王强,,D1,,,\n#rows=2\n".encode()
    at = content.index("王".encode())
    reading = await read(write(tmp_path, content[:at] + content[at + 1 :]))
    assert said(reading) == [("people.csv", 3, "", "encoding")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
async def test_an_encoding_that_is_not_ours_is_refused(tmp_path, encoding) -> None:
    reading = await read(write(tmp_path, f"{PEOPLE}#rows=0\n".encode(encoding)))
    assert [it.rule for it in reading.findings] == ["encoding"]


async def test_file_cut_off_at_any_byte_is_refused(company) -> None:
    whole = (company / "people.csv").read_bytes()
    digits = len(whole.rstrip())
    for size in range(digits):
        (company / "people.csv").write_bytes(whole[:size])
        reading = await read(company)
        assert reading.snapshot is None, f"cut at byte {size} was taken"


async def test_without_the_marker_a_file_is_taken_only_where_the_settings_allow(tmp_path) -> None:
    folder = write(tmp_path, f"{PEOPLE}E1,林晓,,D1,,,\n")
    assert said(await read(folder)) == [("people.csv", 0, "", "row-count-missing")]
    assert (await read(folder, require_row_count=False)).findings == ()
    write(tmp_path, f"{PEOPLE}E1,林晓,,D1,,,z")
    reading = await read(folder, require_row_count=False)
    assert said(reading) == [("people.csv", 0, "", "no-final-newline")]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("E1,林晓,,D1,,,\n#rows=2\n", (0, "", "row-count")),
        ("#rows=1\nE1,林晓,,D1,,,\n", (2, "", "after-row-count")),
        ("E1,林晓,,D1\n#rows=1\n", (2, "", "ragged-row")),
        ("E1,林晓,,D1,,,,extra\n#rows=1\n", (2, "", "ragged-row")),
        ('E1,"林晓,,D1,,,\n#rows=1\n', (2, "", "not-csv")),
        (",林晓,,D1,,,\n#rows=1\n", (2, "employee_id", "required")),
        ("E1,,,D1,,,\n#rows=1\n", (2, "name", "required")),
        ("E1,林晓,,,,,\n#rows=1\n", (2, "department_id", "required")),
        ("E 1,林晓,,D1,,,\n#rows=1\n", (2, "employee_id", "bad-id")),
        ("E1,林晓,,D1,,,\n\nE1,王强,,D1,,,\n#rows=2\n", (4, "employee_id", "duplicate-id")),
        ("E1,林晓,,D9,,,\n#rows=1\n", (2, "department_id", "unknown-reference")),
        ("E1,林晓,,D1,E9,,\n#rows=1\n", (2, "manager_id", "unknown-reference")),
        ("E1,林晓,,D1,E1,,\n#rows=1\n", (2, "manager_id", "cycle")),
        ("E1,林晓,not an address,D1,,,\n#rows=1\n", (2, "email", "bad-email")),
        ("E1,林晓,,D1,,Finance,\n#rows=1\n", (2, "roles", "bad-role")),
        ("E1,林晓,,D1,,,fr\n#rows=1\n", (2, "language", "unknown-language")),
        (f"E1,{'长' * 201},,D1,,,\n#rows=1\n", (2, "name", "too-long")),
        ('E1,"林\n晓",,D1,,,\n#rows=1\n', (2, "name", "control-character")),
        ("E1,林\u202e晓,,D1,,,\n#rows=1\n", (2, "name", "control-character")),
    ],
)
async def test_each_broken_rule_is_told_with_its_place(tmp_path, rows, expected) -> None:
    reading = await read(write(tmp_path, PEOPLE + rows))
    assert said(reading) == [("people.csv", *expected)]
    (finding,) = reading.findings
    assert finding.say("zh") != finding.say("en")


async def test_departments_are_checked_as_people_are(tmp_path) -> None:
    departments = f"{DEPARTMENTS}D1,研发,D2,E7\nD2,平台,D1,\nD3,财务,D8,\n#rows=3\n"
    reading = await read(write(tmp_path, f"{PEOPLE}E1,林晓,,D1,,,\n#rows=1\n", departments))
    assert sorted(said(reading)) == [
        ("departments.csv", 2, "head_id", "unknown-reference"),
        ("departments.csv", 2, "parent_id", "cycle"),
        ("departments.csv", 4, "parent_id", "unknown-reference"),
    ]


async def test_problems_of_both_files_are_told_at_once(tmp_path) -> None:
    reading = await read(write(tmp_path, "employee_id,name,name\n#rows=0\n", ""))
    rules = {(it.file, it.field): it.rule for it in reading.findings}
    assert rules["people.csv", "email"] == "missing-column"
    assert rules["people.csv", "name"] == "duplicate-column"
    assert rules["departments.csv", "head_id"] == "missing-column"


async def test_missing_file_is_an_answer_and_not_a_crash(tmp_path) -> None:
    reading = await read(tmp_path)
    assert [it.rule for it in reading.findings] == ["missing-file", "missing-file"]
    assert all(it.say("zh") for it in reading.findings)


async def test_further_columns_and_their_order_do_not_matter(tmp_path) -> None:
    people = "phone,name,employee_id,email,roles,language,manager_id,department_id\n"
    reading = await read(write(tmp_path, f"{people}1,林晓,E1,,,en,,D1\n#rows=1,,,,,,,\n"))
    assert reading.findings == ()
    assert reading.snapshot.people[0].language == "en"


def test_every_rule_is_told_in_both_languages() -> None:
    for rule, (zh, en) in RULES.items():
        assert zh.isascii() is False, rule
        assert en.isascii(), rule
