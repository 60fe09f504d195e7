"""The demo's company: people and machine clients with secrets made once for this checkout."""

import csv
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from local_stack.places import CHECKOUT

FOLDER = CHECKOUT / "examples" / "company"

# Machine clients and what each may do: the finance program settles, the command line operates.
CLIENTS = {
    "finance-subscriber": ("finance",),
    "tonglu-cli": ("admin", "auditor", "finance", "monitor"),
}


@dataclass(frozen=True, slots=True)
class Secrets:
    """What nobody else knows: one password for the demo's people, a secret for each machine."""

    password: str
    clients: dict[str, str]
    oa_admin: str
    oa_webhook: str


@dataclass(frozen=True, slots=True)
class Company:
    """Files that the identity provider and the OA read, and the secrets in them."""

    people_file: Path
    clients_file: Path
    secrets: Secrets
    people: tuple[dict[str, str], ...]


def prepare(folder: Path) -> Company:
    """Write the two files into the stack's folder, readable by the user alone."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = _secrets(folder / "secrets.json")
    with (FOLDER / "people.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = tuple(row for row in csv.DictReader(file) if not row["employee_id"].startswith("#"))
    people = [_person(row, kept.password) for row in rows]
    people.append(
        {
            "id": "oa-admin",
            "name": "OA 管理员",
            "password": kept.oa_admin,
            "groups": ["admin"],
            "roles": [],
        }
    )
    clients = [
        {"client_id": name, "client_secret": kept.clients[name], "roles": list(roles)}
        for name, roles in CLIENTS.items()
    ]
    _write_private(
        folder / "compose.env",
        f"OA_ADMIN_PASSWORD={kept.oa_admin}\nOA_WEBHOOK_SECRET={kept.oa_webhook}\n"
        f"FINANCE_CLIENT_SECRET={kept.clients['finance-subscriber']}\n",
    )
    people_file, clients_file = folder / "people.json", folder / "clients.json"
    _write(people_file, people)
    _write(clients_file, clients)
    return Company(people_file, clients_file, kept, rows)


def _person(row: dict[str, str], password: str) -> dict[str, object]:
    roles = [role for role in row["roles"].split(";") if role]
    return {
        "id": row["employee_id"],
        "name": row["name"],
        "password": password,
        "roles": ["employee", "approver", *roles],
        "groups": [row["department_id"], *roles],
    }


def _secrets(file: Path) -> Secrets:
    if not file.exists():
        _write(
            file,
            {
                "password": f"demo-{secrets.token_hex(3)}",
                "clients": {name: secrets.token_urlsafe(24) for name in CLIENTS},
                "oa_admin": secrets.token_urlsafe(18),
                "oa_webhook": secrets.token_urlsafe(24),
            },
        )
    return Secrets(**json.loads(file.read_text()))


def _write(file: Path, content: object) -> None:
    _write_private(file, json.dumps(content, ensure_ascii=False, indent=2))


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
