"""Submits over HTTP into one process of claims, beside pgbench writing the same rows."""

import statistics

from drafts import CONNECTIONS, Pgbench, drafts, load, sample, submits
from harness import ROUNDS, Figure, interleave
from processes import cpu_seconds, issuer, migrations, service
from servers import Servers

CLAIMS = 2_000


async def measure(at: Servers) -> tuple[list[Figure], dict[str, str]]:
    dsn, database = await at.database("bench_submit", migrations("claims"))
    other_dsn, other = await at.database("bench_pgbench", migrations("claims"))
    latencies: list[float] = []
    async with (
        issuer() as tokens,
        service(at, "claims", dsn, tokens.url, roles='["api", "loops"]') as (claims, port),
    ):
        (first,) = await drafts(database, 1)
        await load(port, submits(tokens, [first]))
        pgbench = Pgbench(other_dsn, other, await sample(database, first))

        async def http() -> float:
            requests = submits(tokens, await drafts(database, CLAIMS))
            answered = await load(port, requests)
            latencies[:] = answered["ms"]
            return CLAIMS / float(answered["seconds"])

        before = cpu_seconds(claims)
        contenders = {"pgbench": lambda: pgbench.rate(CLAIMS), "HTTP": http}
        rates = await interleave("submit", contenders, at.analyze)
        spent = (cpu_seconds(claims) - before) * 1000 / (CLAIMS * (ROUNDS + 1))
    cuts = statistics.quantiles(latencies, n=100)
    return [
        Figure(
            "submit over HTTP",
            "claims/s",
            "pgbench, same rows",
            0.30,
            rates["pgbench"],
            rates["HTTP"],
        )
    ], {
        f"submit at {CONNECTIONS} connections": f"p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms",
        "CPU of claims per submit": f"{spent:.2f} ms",
    }
