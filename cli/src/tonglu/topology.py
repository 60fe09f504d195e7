"""Which processes make one Tonglu, with what each is told: the architecture drawing as code."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from events import topic_specs
from local_stack.places import CHECKOUT
from local_stack.postgres import database_dsn
from local_stack.process import Process, answers
from local_stack.room import Options, Topic
from local_stack.stack import Stack

from tonglu import company

SERVICES = ("claims", "workflow", "oa-connector", "directory-sync", "notifier")
TENANT = "flowable"


def open_stack(
    folder: Path,
    say: Callable[[str, str], None] = lambda _name, _words: None,
    *,
    durable: bool = True,
) -> tuple[Stack, company.Company]:
    """The stack of one folder with the company in it, nothing started yet."""
    people = company.prepare(folder)
    stack = Stack(folder, Options(), say)
    connector = f"http://127.0.0.1:{stack.port('oa-connector')}"
    stack.options = Options(
        durable=durable,
        topics=tuple(Topic(spec.name, spec.partitions, spec.config) for spec in topic_specs()),
        people_file=people.people_file,
        clients_file=people.clients_file,
        webhook_url=f"{connector}/callbacks/{TENANT}",
        webhook_secret=people.secrets.oa_webhook,
    )
    return stack, people


def services(
    stack: Stack, people: company.Company, more: Mapping[str, Mapping[str, str]] | None = None
) -> Callable[[Mapping[str, str]], Sequence[Process]]:
    """The five services, each after its own migrations; `more` adds settings to one by name."""

    def processes(provides: Mapping[str, str]) -> Sequence[Process]:
        found: list[Process] = []
        for name in SERVICES:
            env = _env(name, stack, people, provides) | dict((more or {}).get(name, {}))
            found += _service(name, env)
        found.append(_pipeline_view(stack, people, provides))
        return found

    return processes


def _service(name: str, env: Mapping[str, str]) -> list[Process]:
    module = name.replace("-", "_")
    address = f"http://127.0.0.1:{env['HTTP_PORT']}"
    migrations = Process(
        name=f"{name}.migrate",
        command=(sys.executable, "-m", module, "migrate"),
        env=env,
        after=("postgres",),
    )
    service = Process(
        name=name,
        command=(sys.executable, "-m", module),
        env=env,
        ready=answers(f"{address}/healthz/startup"),
        after=(migrations.name, "kafka", "identity"),
        provides={f"{module.upper()}_URL": address},
    )
    return [migrations, service]


def _pipeline_view(stack: Stack, people: company.Company, provides: Mapping[str, str]) -> Process:
    """The notifier's Faust view: a process of its own, since a Faust worker owns its loop."""
    own_port = {"HTTP_PORT": str(stack.port("notifier.view"))}
    env = _env("notifier", stack, people, provides) | own_port
    return Process(
        name="notifier.view",
        command=(sys.executable, "-m", "notifier", "view"),
        env=env,
        ready=at_once,
        after=("notifier", "kafka"),
    )


async def at_once() -> None:
    """Ready as soon as it runs: a view is never waited for."""


def _env(
    name: str, stack: Stack, people: company.Company, provides: Mapping[str, str]
) -> dict[str, str]:
    shared = {
        "POSTGRES_DSN": database_dsn(provides["POSTGRES_DSN"], name),
        "KAFKA_BOOTSTRAP_SERVERS": provides["KAFKA_BOOTSTRAP_SERVERS"],
        "OIDC_ISSUER": provides["OIDC_ISSUER"],
        "HTTP_PORT": str(stack.port(name)),
        "PYTHONUNBUFFERED": "1",
    }
    return shared | _own_settings(name, stack, people, provides)


def _own_settings(
    name: str, stack: Stack, people: company.Company, provides: Mapping[str, str]
) -> dict[str, str]:
    company_folder = CHECKOUT / "examples" / "company"
    match name:
        case "workflow":
            return {"DEFINITIONS_DIR": str(company_folder / "definitions")}
        case "directory-sync":
            return {"DIRECTORY_FOLDER": str(company_folder)}
        case "oa-connector":
            return {
                "CLAIM_URL": f"http://127.0.0.1:{stack.port('claims')}/api/claims/{{document_id}}",
                "TENANTS": json.dumps(
                    {
                        TENANT: {
                            "kind": "flowable",
                            "base_url": provides.get("FLOWABLE_URL", ""),
                            "username": "oa-admin",
                            "secrets": {
                                "password": people.secrets.oa_admin,
                                "callback": people.secrets.oa_webhook,
                            },
                        }
                    }
                ),
            }
        case _:
            return {}
