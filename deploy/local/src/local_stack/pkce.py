"""Sign a person in by authorization code and PKCE, as the web app does, for scripts and tests."""

import base64
import hashlib
import secrets
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

CLIENT = "tonglu-web"
REDIRECT = "http://127.0.0.1/callback"


class SignInRefused(Exception):
    """The provider does not know this person with this password."""


async def sign_in(issuer: str, person: str, password: str) -> str:
    """Fill in the provider's login form and return an access token.

    Raises SignInRefused when the form comes back, httpx.HTTPStatusError when a step fails.
    """
    verifier = secrets.token_urlsafe(48)
    async with httpx.AsyncClient(timeout=20) as http:
        found = await http.get(f"{issuer}/.well-known/openid-configuration")
        endpoints = found.raise_for_status().json()
        form = await _follow(http, await http.get(_login(endpoints, verifier)))
        if isinstance(form, str):
            raise SignInRefused(f"{issuer} gave a code without asking for a password")
        code = await _follow(http, await _fill_in(http, form, person, password))
        if not isinstance(code, str):
            raise SignInRefused(
                f"{issuer} refused {person}: wrong name or password. / 用户名或密码不正确：{person}"
            )
        reply = await http.post(
            endpoints["token_endpoint"],
            data={
                "grant_type": "authorization_code",
                "client_id": CLIENT,
                "redirect_uri": REDIRECT,
                "code": code,
                "code_verifier": verifier,
            },
        )
        return str(reply.raise_for_status().json()["access_token"])


def _login(endpoints: dict[str, str], verifier: str) -> httpx.URL:
    digest = hashlib.sha256(verifier.encode()).digest()
    return httpx.URL(
        endpoints["authorization_endpoint"],
        params={
            "response_type": "code",
            "client_id": CLIENT,
            "redirect_uri": REDIRECT,
            "scope": "openid profile email",
            "state": secrets.token_urlsafe(16),
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        },
    )


async def _follow(http: httpx.AsyncClient, reply: httpx.Response) -> httpx.Response | str:
    """Go where the provider sends the browser: to a page, or home with the code."""
    while reply.is_redirect:
        target = urljoin(str(reply.url), reply.headers["location"])
        if target.startswith(REDIRECT):
            answer = parse_qs(urlsplit(target).query)
            if "code" not in answer:
                raise SignInRefused(f"the provider answered {answer}")
            return answer["code"][0]
        reply = await http.get(target)
    return reply


async def _fill_in(
    http: httpx.AsyncClient, page: httpx.Response, person: str, password: str
) -> httpx.Response:
    form = _Form()
    form.feed(page.text)
    if not form.password:
        raise SignInRefused(f"{page.url} shows no login form ({page.status_code})")
    fields = {**form.hidden, form.person: person, form.password: password}
    return await http.post(urljoin(str(page.url), form.action), data=fields)


class _Form(HTMLParser):
    """The page's form: where it goes, what it hides, and its two fields."""

    def __init__(self) -> None:
        super().__init__()
        self.action = self.person = self.password = ""
        self.hidden: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: text or "" for name, text in attrs}
        name = attributes.get("name", "")
        match tag, attributes.get("type", "text"):
            case "form", _:
                self.action = attributes.get("action", "")
            case "input", "hidden":
                self.hidden[name] = attributes.get("value", "")
            case "input", "password":
                self.password = name
            case "input", "text" | "email":
                self.person = name
            case _:
                pass
