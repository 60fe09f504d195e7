"""A finance system that subscribes to Tonglu: books each PaymentRequested and settles it.

A PaymentStopped is obeyed: never paid, and reported if it is booked. It imports nothing of Tonglu:
one topic, two event types, one HTTP call, as in docs/contracts/topics/claims.claim.v1.md.
"""

import asyncio
import json
import os
import sqlite3

import httpx
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError

ISSUER, CLAIMS = os.environ["OIDC_ISSUER"], os.environ["CLAIMS_URL"]
CLIENT = (os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"])
# Final answers: it has failed, another receipt has settled it, its approval was taken back.
CLOSED = ("payment-closed", "already-settled", "payment-stopped")
# Each statement is a transaction of its own.
ledger = sqlite3.connect(os.environ.get("LEDGER", "ledger.sqlite"), isolation_level=None)
ledger.execute(
    "CREATE TABLE IF NOT EXISTS entry (payment_id TEXT PRIMARY KEY, payee TEXT, amount TEXT,"
    " currency TEXT, receipt TEXT, settled INTEGER DEFAULT 0)"
)
ledger.execute("CREATE TABLE IF NOT EXISTS stopped (payment_id TEXT PRIMARY KEY)")


def book(payment: dict) -> str:
    """One entry per payment id, however often the event comes; the receipt is bound to it."""
    id_, receipt = payment["payment_id"], f"FIN-{payment['payment_id'][-12:]}"
    entry = (id_, payment["payee_id"], *payment["amount"].values(), receipt)
    ledger.execute("INSERT OR IGNORE INTO entry VALUES (?, ?, ?, ?, ?, 0)", entry)
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
    if answer.status_code == httpx.codes.CONFLICT and answer.json()["type"].endswith(CLOSED):
        return print(f"not settled {payment['payment_id']}: {answer.json()['detail']}", flush=True)
    answer.raise_for_status()
    ledger.execute("UPDATE entry SET settled = 1 WHERE receipt = ?", (receipt,))
    return print(f"settled {payment['payment_id']} {payment['amount']} {receipt}", flush=True)


async def pay(http: httpx.AsyncClient, payment: dict) -> None:
    """Book, then settle until Tonglu has answered: this event must not be left behind."""
    known = ledger.execute("SELECT 1 FROM stopped WHERE payment_id = ?", (payment["payment_id"],))
    is_done = known.fetchone() is not None
    while not is_done:
        try:
            await settle(http, payment, book(payment))
            is_done = True
        except httpx.HTTPError as error:
            print(f"{payment['payment_id']}: {error}; again soon", flush=True)
            await asyncio.sleep(1)


def stop(payment: dict) -> None:
    """Never pay it, even if its request comes again; what is booked must be reversed."""
    known = (payment["payment_id"],)
    ledger.execute("INSERT OR IGNORE INTO stopped VALUES (?)", known)
    for (receipt,) in ledger.execute("SELECT receipt FROM entry WHERE payment_id = ?", known):
        print(f"stopped {known[0]}: reverse {receipt}: {payment['reason']}", flush=True)


async def main() -> None:
    servers, group = os.environ["KAFKA_BOOTSTRAP_SERVERS"], "finance-subscriber"
    # The offset moves only after the work is done.
    how = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
    topic = AIOKafkaConsumer("claims.claim.v1", bootstrap_servers=servers, group_id=group, **how)
    async with topic, httpx.AsyncClient(timeout=10) as http:
        async for record in topic:
            if ("ce_type", b"payment.requested.v1") in record.headers:
                await pay(http, json.loads(record.value))
            elif ("ce_type", b"payment.stopped.v1") in record.headers:
                stop(json.loads(record.value))
            try:
                await topic.commit()
            except CommitFailedError:  # the group has moved on: the record comes again, booked once
                print("commit refused: read again", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
