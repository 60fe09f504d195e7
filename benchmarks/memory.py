"""What each service holds in memory when it has started and nothing is asked of it: reported."""

import json

from harness import console
from local_stack.places import CHECKOUT
from processes import issuer, migrations, service
from servers import Servers

_COMPANY = CHECKOUT / "examples" / "company"
# The OA need not be there: the connector waits for it.
_TENANT = {
    "kind": "flowable",
    "base_url": "http://127.0.0.1:9",
    "username": "bench",
    "secrets": {"password": "bench", "callback": "bench"},
}
SETTINGS: dict[str, dict[str, str]] = {
    "claims": {},
    "workflow": {},
    "oa-connector": {"tenants": json.dumps({"bench": _TENANT})},
    "directory-sync": {"directory_folder": str(_COMPANY)},
    "notifier": {},
}


async def measure(at: Servers) -> tuple[list, dict[str, str]]:
    found: dict[str, str] = {}
    async with issuer() as tokens:
        for name, settings in SETTINGS.items():
            database_name = f"bench_memory_{name.replace('-', '_')}"
            dsn, _ = await at.database(database_name, migrations(name))
            async with service(at, name, dsn, tokens.url, **settings) as (running, _):
                found[f"memory of {name} at rest"] = f"{running.memory_bytes() / 2**20:.0f} MiB"
    for name, megabytes in found.items():
        console.print(f"[dim]{name}: {megabytes}[/dim]")
    return [], found
