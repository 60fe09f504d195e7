"""The finance system of the examples obeys a payment that was stopped."""

import importlib.util
from pathlib import Path
from types import ModuleType

import httpx
import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "finance-subscriber" / "subscriber.py"
PAYMENT = {
    "payment_id": "0123456789abcdef",
    "payee_id": "E1001",
    "amount": {"amount": "1119.50", "currency": "CNY"},
    "reason": "审批已被撤销",
}


@pytest.fixture
def finance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name in ("OIDC_ISSUER", "CLAIMS_URL", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(name, "http://nobody.test")
    monkeypatch.setenv("LEDGER", str(tmp_path / "ledger.sqlite"))
    spec = importlib.util.spec_from_file_location("finance_subscriber", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    module.ledger.close()


def entries(finance: ModuleType) -> list[tuple]:
    return finance.ledger.execute("SELECT payment_id, amount, currency FROM entry").fetchall()


async def test_a_payment_stopped_before_it_is_asked_for_is_never_booked_nor_paid(finance) -> None:
    finance.stop(PAYMENT)

    async def refuse(_request: httpx.Request) -> httpx.Response:
        raise AssertionError("it asked for money")

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        await finance.pay(http, PAYMENT)

    assert entries(finance) == []


def test_a_payment_stopped_after_it_is_booked_is_reported_with_its_receipt(finance, capsys) -> None:
    receipt = finance.book(PAYMENT)
    assert finance.book(PAYMENT) == receipt

    finance.stop(PAYMENT)
    finance.stop(PAYMENT)

    assert entries(finance) == [("0123456789abcdef", "1119.50", "CNY")]
    assert f"reverse {receipt}" in capsys.readouterr().out


async def test_a_refusal_that_is_final_ends_the_try(finance, capsys) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/settle"):
            said = {"type": "urn:tonglu:problem:payment-stopped", "detail": "stopped"}
            return httpx.Response(409, json=said)
        return httpx.Response(200, json={"token_endpoint": "http://t", "access_token": "x"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        await finance.pay(http, PAYMENT)

    assert "not settled 0123456789abcdef: stopped" in capsys.readouterr().out
