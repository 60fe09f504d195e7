"""Two CSV files in a folder, UTF-8 or GB18030, refused unless provably whole.

`people.csv` and `departments.csv` have a header row and end with the line `#rows=N`, N being the
number of rows between the two. Without it a file is taken only where the settings say so, and
then its last row must end with a line break. Further columns are left alone.
"""

import asyncio
import csv
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from directory_sync.domain.snapshot import (
    DEPARTMENT_COLUMNS,
    PEOPLE_COLUMNS,
    Finding,
    Reading,
    Row,
    read_rows,
)

_MAX_BYTES = 512 * 1024 * 1024
_ROW_COUNT = re.compile(r"#rows=(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Files:
    """A folder with the two files."""

    folder: Path
    require_row_count: bool = True
    name: str = "files"

    async def read(self) -> Reading:
        return await asyncio.to_thread(self._read)

    def _read(self) -> Reading:
        digest = hashlib.sha256()
        findings: list[Finding] = []
        rows: list[list[Row]] = []
        for file, columns in (
            ("people.csv", PEOPLE_COLUMNS),
            ("departments.csv", DEPARTMENT_COLUMNS),
        ):
            try:
                content = _content(self.folder / file)
                digest.update(len(content).to_bytes(8) + content)
                rows.append(_Table(file, columns, self.require_row_count).rows(content))
            except _Unsound as broken:
                findings += broken.findings
        if findings:
            return Reading(digest.hexdigest(), tuple(findings))
        people, departments = rows
        return read_rows(people, departments, digest.hexdigest())


class _Unsound(Exception):
    """The file as a whole cannot be trusted: its rows are not looked at."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__(len(findings))
        self.findings = findings


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _Unsound(Finding(path.name, 0, "", "too-large", {"limit": _MAX_BYTES}))
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _Unsound(Finding(path.name, 0, "", "missing-file", {"reason": reason})) from error


def _text(file: str, content: bytes) -> str:
    """UTF-8, else GB18030, which reads almost any bytes: never damaged UTF-8 as GB18030."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = error.start
    attempt = content.decode("utf-8-sig", "replace")
    damaged = attempt.count("\ufffd")
    sound = sum(not character.isascii() for character in attempt) - damaged
    try:
        if sound < damaged and b"\x00" not in content:
            return content.decode("gb18030")
    except UnicodeDecodeError as error:
        byte = error.start
    raise _Unsound(Finding(file, content.count(b"\n", 0, byte) + 1, "", "encoding", {"byte": byte}))


@dataclass(frozen=True, slots=True)
class _Table:
    """One file's shape."""

    file: str
    columns: Sequence[str]
    require_row_count: bool

    def rows(self, content: bytes) -> list[Row]:
        """The rows with their lines, every one as wide as the header and all of them there.

        Raises:
            _Unsound: with everything that shows the file to be cut off or no table of ours.
        """
        text = _text(self.file, content)
        lines = self._lines(text)
        header = [name.strip() for name in lines.pop(0)[1]] if lines else []
        self._check_header(header)
        findings: list[Finding] = []
        declared = self._take_row_count(lines, text, findings)
        rows = []
        for line, values in lines:
            if len(values) == len(header):
                named = dict(zip(header, (value.strip() for value in values), strict=True))
                rows.append(Row(self.file, line, {name: named[name] for name in self.columns}))
            else:
                sizes = {"expected": len(header), "actual": len(values)}
                findings.append(Finding(self.file, line, "", "ragged-row", sizes))
        if declared is not None and declared != len(lines):
            counts = {"declared": declared, "actual": len(lines)}
            findings.append(Finding(self.file, 0, "", "row-count", counts))
        if findings:
            raise _Unsound(*findings)
        return rows

    def _lines(self, text: str) -> list[tuple[int, list[str]]]:
        """Each row with the line that it begins on; empty lines are left out."""
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = []
        begins = 1
        try:
            for values in reader:
                if values:
                    lines.append((begins, values))
                begins = reader.line_num + 1
        except csv.Error as error:
            found = Finding(self.file, begins, "", "not-csv", {"reason": str(error)})
            raise _Unsound(found) from error
        return lines

    def _check_header(self, header: Sequence[str]) -> None:
        missing = [
            Finding(self.file, 1, name, "missing-column")
            for name in self.columns
            if name not in header
        ]
        twice = [
            Finding(self.file, 1, name, "duplicate-column")
            for name in self.columns
            if header.count(name) > 1
        ]
        if missing or twice:
            raise _Unsound(*missing, *twice)

    def _take_row_count(
        self, lines: list[tuple[int, list[str]]], text: str, findings: list[Finding]
    ) -> int | None:
        """Take the marker off the end; a marker elsewhere, or none, is a finding."""
        marks = [n for n, (_, values) in enumerate(lines) if _is_row_count(values)]
        if not marks:
            if self.require_row_count:
                findings.append(Finding(self.file, 0, "", "row-count-missing"))
            elif not text.endswith(("\n", "\r")):
                findings.append(Finding(self.file, 0, "", "no-final-newline"))
            return None
        line, values = lines[marks[0]]
        if marks[0] != len(lines) - 1:
            raise _Unsound(Finding(self.file, line, "", "after-row-count"))
        lines.pop()
        return int(values[0].strip().removeprefix("#rows="))


def _is_row_count(values: Sequence[str]) -> bool:
    """Spreadsheets pad a row with empty cells, so those may follow."""
    return bool(_ROW_COUNT.fullmatch(values[0].strip())) and not any(values[1:])
