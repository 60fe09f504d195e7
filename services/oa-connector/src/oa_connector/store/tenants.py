"""What each OA said of itself, how far its lists were read, and which forms are paused."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from chassis import Tx
from events import InstanceId, TenantId

from oa_connector.domain import Capabilities, ProbeReport, Sight

ATTENDED = timedelta(minutes=1)  # since the last pulse of a process that works for an OA
_MARKS = {
    Sight.POLL_CREATED_SINCE: "created_until",
    Sight.POLL_CHANGED_SINCE: "changed_until",
}


@dataclass(frozen=True, slots=True)
class Template:
    """A form of an OA. `paused_at`: since when nothing new is sent by it, and why."""

    name: str
    fingerprint: str | None
    paused_at: datetime | None
    why: str | None

    @property
    def paused(self) -> bool:
        return self.paused_at is not None


@dataclass(frozen=True, slots=True)
class Tenant:
    """One OA as it was when it was last asked: its version, or the error instead.

    `is_unattended`: no process of ours has worked for it for a minute.
    """

    tenant: TenantId
    version: str | None
    error: str | None
    checked_at: datetime
    profile: str | None
    is_degraded: bool
    detail: str
    capabilities: dict[str, object] | None
    breaker: str
    clock_offset: timedelta
    reconciled_at: datetime | None
    is_unattended: bool
    templates: tuple[Template, ...] = ()

    @property
    def clock_offset_seconds(self) -> float:
        return self.clock_offset.total_seconds()


async def tenants(tx: Tx) -> list[Tenant]:
    forms: dict[str, list[Template]] = {}
    for row in await tx.fetch("SELECT * FROM template ORDER BY tenant, name"):
        found = Template(row["name"], row["fingerprint"], row["paused_at"], row["why"])
        forms.setdefault(row["tenant"], []).append(found)
    rows = await tx.fetch(
        "SELECT *, coalesce(pulse_at < $1, true) AS is_unattended FROM tenant ORDER BY tenant",
        tx.now - ATTENDED,
    )
    names = set(Tenant.__slots__) - {"capabilities", "templates"}
    return [
        Tenant(
            **{name: row[name] for name in names},
            capabilities=json.loads(row["capabilities"]) if row["capabilities"] else None,
            templates=tuple(forms.get(row["tenant"], ())),
        )
        for row in rows
    ]


async def is_silent(tx: Tx, tenant: TenantId) -> bool:
    """Whether it did not answer when it was last asked what it is."""
    error = await tx.fetchval("SELECT error FROM tenant WHERE tenant = $1", tenant)
    return error is not None


async def tenant_for_change(tx: Tx, tenant: TenantId) -> tuple[str | None, bool] | None:
    """Its last known version and whether it was degraded, locked; None: never asked before."""
    row = await tx.fetchrow(
        "SELECT version, is_degraded FROM tenant WHERE tenant = $1 FOR UPDATE", tenant
    )
    return (row["version"], row["is_degraded"]) if row else None


async def save_report(
    tx: Tx, tenant: TenantId, report: ProbeReport, capabilities: Capabilities
) -> None:
    """Keep what the OA said."""
    can = asdict(capabilities) | {"sights": sorted(capabilities.sights)}
    await tx.execute(
        "INSERT INTO tenant (tenant, version, error, checked_at, profile, is_degraded, detail,"
        " capabilities) VALUES ($1, $2, NULL, $3, $4, $5, $6, $7)"
        " ON CONFLICT (tenant) DO UPDATE SET version = coalesce(excluded.version, tenant.version),"
        " error = NULL, checked_at = excluded.checked_at, profile = excluded.profile,"
        " is_degraded = excluded.is_degraded, detail = excluded.detail,"
        " capabilities = excluded.capabilities",
        *(tenant, report.version, tx.now, report.profile, report.is_degraded, report.detail),
        json.dumps(can),
    )


async def save_silence(tx: Tx, tenant: TenantId, error: str) -> None:
    """It did not answer; what it said before stays."""
    await tx.execute(
        "INSERT INTO tenant (tenant, error, checked_at) VALUES ($1, $2, $3)"
        " ON CONFLICT (tenant) DO UPDATE SET error = excluded.error,"
        " checked_at = excluded.checked_at",
        *(tenant, error, tx.now),
    )


async def save_pulse(tx: Tx, tenant: TenantId, breaker: str, clock_offset: timedelta) -> None:
    """How it fares just now, and that we work for it."""
    await tx.execute(
        "UPDATE tenant SET breaker = $2, clock_offset = $3, pulse_at = $4 WHERE tenant = $1",
        *(tenant, breaker, clock_offset, tx.now),
    )


async def mark(tx: Tx, tenant: TenantId, sight: Sight) -> datetime | None:
    """How far this list was read, by the OA's clock."""
    row = await tx.fetchrow("SELECT * FROM tenant WHERE tenant = $1", tenant)
    return row[_MARKS[sight]] if row else None


async def move_mark(tx: Tx, tenant: TenantId, sight: Sight, until: datetime) -> None:
    await tx.execute(
        "INSERT INTO tenant (tenant, checked_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        *(tenant, tx.now),
    )
    column = _MARKS[sight]
    await tx.execute(
        f"UPDATE tenant SET {column} = $2, reconciled_at = $3 WHERE tenant = $1",  # noqa: S608 -- from a table above
        *(tenant, until, tx.now),
    )


async def fingerprints(tx: Tx, tenant: TenantId) -> Mapping[str, str | None]:
    rows = await tx.fetch("SELECT name, fingerprint FROM template WHERE tenant = $1", tenant)
    return {row["name"]: row["fingerprint"] for row in rows}


async def save_fingerprint(tx: Tx, tenant: TenantId, name: str, fingerprint: str) -> None:
    await tx.execute(
        "INSERT INTO template (tenant, name, fingerprint) VALUES ($1, $2, $3)"
        " ON CONFLICT (tenant, name) DO UPDATE SET fingerprint = excluded.fingerprint",
        *(tenant, name, fingerprint),
    )


async def pause_template(tx: Tx, tenant: TenantId, name: str, why: str) -> bool:
    """Send nothing new by it; False when it was paused already."""
    done = await tx.fetchval(
        "INSERT INTO template (tenant, name, paused_at, why) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (tenant, name) DO UPDATE SET paused_at = excluded.paused_at,"
        " why = excluded.why WHERE template.paused_at IS NULL RETURNING true",
        *(tenant, name, tx.now, why),
    )
    return done is not None


async def resume_template(tx: Tx, tenant: TenantId, name: str) -> bool:
    """Send by it again; False when it was not paused."""
    done = await tx.execute(
        "UPDATE template SET paused_at = NULL, why = NULL"
        " WHERE tenant = $1 AND name = $2 AND paused_at IS NOT NULL",
        *(tenant, name),
    )
    return done != "UPDATE 0"


async def add_callback(
    tx: Tx, tenant: TenantId, delivery: tuple[str, str], instance_id: InstanceId, body: bytes
) -> bool:
    """Keep a callback; False when its (delivery id, signature) was seen before."""
    added = await tx.fetchval(
        "INSERT INTO callback (tenant, delivery_id, signature, instance_id, body, received_at)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING true",
        *(tenant, *delivery, instance_id, body, tx.now),
    )
    return added is not None


async def is_signed_anew(tx: Tx, tenant: TenantId, delivery: tuple[str, str], body: bytes) -> bool:
    """Whether this delivery is kept with the same body and another signature."""
    row = await tx.fetchrow(
        "SELECT FROM callback WHERE tenant = $1 AND delivery_id = $2 AND signature <> $3"
        " AND body = $4 AND NOT EXISTS (SELECT FROM callback WHERE tenant = $1 AND signature = $3)",
        *(tenant, *delivery, body),
    )
    return row is not None


async def forget_callbacks(tx: Tx, before: datetime) -> None:
    await tx.execute("DELETE FROM callback WHERE received_at < $1", before)
