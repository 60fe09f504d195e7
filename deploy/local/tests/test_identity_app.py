import asyncio
import signal
from typing import Any

import httpx
import pytest
from joserfc import jwk, jwt
from local_stack import pkce
from local_stack.testing import PASSWORD

CHALLENGE = {"code_challenge": "x" * 43, "code_challenge_method": "S256"}


async def keys(issuer: str) -> jwk.KeySet:
    async with httpx.AsyncClient(timeout=20) as http:
        return jwk.KeySet.import_key_set((await http.get(f"{issuer}/jwks")).json())


async def verified(issuer: str, token: str) -> jwt.Token:
    return jwt.decode(token, await keys(issuer), algorithms=["RS256"])


async def authorize(issuer: str, **changes: Any) -> httpx.Response:
    query = {
        "response_type": "code",
        "client_id": pkce.CLIENT,
        "redirect_uri": "http://127.0.0.1:5555/callback",
        "scope": "openid",
        **CHALLENGE,
        **changes,
    }
    async with httpx.AsyncClient(timeout=20) as http:
        return await http.get(
            f"{issuer}/auth", params={name: value for name, value in query.items() if value}
        )


async def test_a_machine_is_its_own_subject(identity):
    token = await identity.token("finance-subscriber")
    claims = (await verified(identity.issuer, token)).claims
    assert claims["iss"] == identity.issuer
    assert claims["aud"] == "tonglu-api"
    assert claims["sub"] == claims["client_id"] == "finance-subscriber"
    assert claims["roles"] == ["finance"]
    assert claims["exp"] - claims["iat"] == 300


async def test_a_machine_gets_no_scope_that_is_not_its_own(identity):
    async with httpx.AsyncClient(timeout=20) as http:
        reply = await http.post(
            f"{identity.issuer}/token",
            data={"grant_type": "client_credentials", "scope": "everything"},
            auth=("finance-subscriber", PASSWORD),
        )
    assert "everything" not in reply.json().get("scope", "")


async def test_a_person_signs_in_and_the_token_does_not_name_them(identity):
    token = await pkce.sign_in(identity.issuer, "zhou", PASSWORD)
    claims = (await verified(identity.issuer, token)).claims
    assert claims["sub"] == "zhou"
    assert claims["client_id"] == pkce.CLIENT
    assert claims["roles"] == ["employee", "finance"]
    assert "name" not in claims


@pytest.mark.parametrize("person", ["zhou", "nobody", '"><script>'])
async def test_a_wrong_password_gives_the_form_again_and_no_code(identity, person):
    with pytest.raises(pkce.SignInRefused):
        await pkce.sign_in(identity.issuer, person, "wrong")


async def test_what_was_typed_comes_back_as_text(identity):
    first = await authorize(identity.issuer)
    page = identity.issuer + first.headers["location"].removeprefix(identity.issuer)
    async with httpx.AsyncClient(timeout=20, cookies=first.cookies) as http:
        reply = await http.post(page, data={"person": '"><script>', "password": "x"})
    assert reply.status_code == 401
    assert "<script>" not in reply.text
    assert "default-src 'none'" in reply.headers["content-security-policy"]


@pytest.mark.parametrize(
    "redirect",
    ["http://evil.example/callback", "http://127.0.0.1:5555/other", "https://127.0.0.1/callback"],
)
async def test_a_foreign_redirect_is_refused_on_the_spot(identity, redirect):
    reply = await authorize(identity.issuer, redirect_uri=redirect)
    assert reply.status_code == 400
    assert "location" not in reply.headers


async def test_no_code_without_pkce(identity):
    reply = await authorize(identity.issuer, code_challenge=None, code_challenge_method=None)
    assert "error=invalid_request" in reply.headers["location"]


async def test_tokens_of_the_old_key_stay_good_after_a_rotation(identity):
    if identity.server.stack is None:
        pytest.skip("this provider was not started here")
    old = await identity.token("tonglu-cli")
    known = len((await keys(identity.issuer)).keys)
    identity.server.stack.signal("identity", signal.SIGHUP)
    async with asyncio.timeout(20):
        while len((await keys(identity.issuer)).keys) == known:  # noqa: ASYNC110 -- the other side is a process
            await asyncio.sleep(0.05)
    new = await identity.token("tonglu-cli")
    before, after = [await verified(identity.issuer, token) for token in (old, new)]
    assert before.header["kid"] != after.header["kid"]
    assert before.claims["sub"] == after.claims["sub"]
