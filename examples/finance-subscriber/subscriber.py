"""A finance system that subscribes to Tonglu: books each PaymentRequested and settles it.

A PaymentStopped is obeyed: what is not paid yet never is, and what was booked is reported.
It imports nothing of Tonglu: one topic, two event types, one HTTP call, as in
docs/contracts/topics/claims.claim.v1.md. Needs aiokafka and httpx.
"""

import asyncio
import json
import os
import sqlite3

import httpx
from aiokafka import AIOKafkaConsumer

ISSUER, CLAIMS = os.environ["OIDC_ISSUER"], os.environ["CLAIMS_URL"]
CLIENT = (os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"])
# Final answers: it has failed, another receipt has settled it, its approval was taken back.
CLOSED = {
    f"urn:tonglu:problem:{name}"
    for name in ("payment-closed", "already-settled", "payment-stopped")
}
ledger = sqlite3.connect(os.environ.get("LEDGER", "ledger.sqlite"))
ledger.execute(
    "CREATE TABLE IF NOT EXISTS entry (payment_id TEXT PRIMARY KEY, payee TEXT, amount TEXT,"
    " currency TEXT, receipt TEXT, settled INTEGER DEFAULT 0)"
)
ledger.execute("CREATE TABLE IF NOT EXISTS stopped (payment_id TEXT PRIMARY KEY)")


def book(payment: dict) -> str:
    """One entry per payment id, however often the event comes; the receipt is bound to it."""
    receipt = f"FIN-{payment['payment_id'][-12:]}"
    with ledger:
        ledger.execute(
            "INSERT OR IGNORE INTO entry (payment_id, payee, amount, currency, receipt)"
            " VALUES (?, ?, ?, ?, ?)",
            (payment["payment_id"], payment["payee_id"], *payment["amount"].values(), receipt),
        )
    return receipt


async def settle(http: httpx.AsyncClient, payment: dict, receipt: str) -> None:
    """Tell Tonglu. The payment id is the idempotency key: to repeat is safe."""
    found = (await http.get(f"{ISSUER}/.well-known/openid-configuration")).json()
    grant = {"grant_type": "client_credentials"}
    token = (await http.post(found["token_endpoint"], data=grant, auth=CLIENT)).raise_for_status()
    bearer = {"authorization": f"Bearer {token.json()['access_token']}"}
    answer = await http.post(
        f"{CLAIMS}/api/payments/{payment['payment_id']}/settle",
        json={"receipt": receipt, "amount": payment["amount"]},
        headers=bearer | {"idempotency-key": payment["payment_id"]},
    )
    if answer.status_code == httpx.codes.CONFLICT and answer.json()["type"] in CLOSED:
        print(f"not settled {payment['payment_id']}: {answer.json()['detail']}", flush=True)
        return
    answer.raise_for_status()
    with ledger:
        ledger.execute("UPDATE entry SET settled = 1 WHERE receipt = ?", (receipt,))
    print(f"settled {payment['payment_id']} {payment['amount']} {receipt}", flush=True)


def stop(payment: dict) -> None:
    """Never pay it, even if its request comes again; say so if it stands in the books."""
    known = (payment["payment_id"],)
    with ledger:
        ledger.execute("INSERT OR IGNORE INTO stopped VALUES (?)", known)
    for (receipt,) in ledger.execute("SELECT receipt FROM entry WHERE payment_id = ?", known):
        print(f"stopped {known[0]} {receipt}: reverse the entry: {payment['reason']}", flush=True)


async def pay(http: httpx.AsyncClient, payment: dict) -> None:
    """Book, then settle until Tonglu has answered: this event must not be left behind."""
    known = (payment["payment_id"],)
    if ledger.execute("SELECT 1 FROM stopped WHERE payment_id = ?", known).fetchone():
        return
    receipt = book(payment)
    is_answered = False
    while not is_answered:
        try:
            await settle(http, payment, receipt)
            is_answered = True
        except httpx.HTTPError as error:
            print(f"{payment['payment_id']}: {error}; again soon", flush=True)
            await asyncio.sleep(1)


async def main() -> None:
    consumer = AIOKafkaConsumer(
        "claims.claim.v1",
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        group_id="finance-subscriber",
        enable_auto_commit=False,  # the offset moves only after the work is done
        auto_offset_reset="earliest",
    )
    async with consumer, httpx.AsyncClient(timeout=10) as http:
        async for record in consumer:
            if ("ce_type", b"payment.requested.v1") in record.headers:
                await pay(http, json.loads(record.value))
            elif ("ce_type", b"payment.stopped.v1") in record.headers:
                stop(json.loads(record.value))
            await consumer.commit()


if __name__ == "__main__":
    asyncio.run(main())
