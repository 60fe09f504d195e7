"""Where everything is: the local stack's record, or the environment for any other site."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from local_stack.places import CACHE
from local_stack.stack import Stack

# TONGLU_STACK names another stack beside the usual one: a second demo, a test of the first.
FOLDER = CACHE / os.environ.get("TONGLU_STACK", "stack")


class NotRunningError(RuntimeError):
    """An address is not known, since nothing was started here and the environment names none."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is not known. Start the local stack with `make up`, or set {name}."
            f" / 不知道 {name}：请先 make up，或设置环境变量 {name}。"
        )


class RefusedError(RuntimeError):
    """A service answered with a problem document; its own words are the message."""


@dataclass(slots=True)
class Site:
    """Addresses by their variable names, and a signed-in HTTP client for the services."""

    folder: Path = FOLDER
    _known: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in Stack(self.folder).status():
            if one.is_running:
                self._known.update(one.provides)
        self._known.update({name: value for name, value in os.environ.items() if name.isupper()})

    def address(self, name: str) -> str:
        """The value of KAFKA_BOOTSTRAP_SERVERS, OIDC_ISSUER, CLAIMS_URL and their like.

        Raises:
            NotRunningError: neither the stack nor the environment knows it.
        """
        try:
            return self._known[name]
        except KeyError:
            raise NotRunningError(name) from None

    def addresses(self) -> dict[str, str]:
        return {name: value for name, value in self._known.items() if name.endswith("_URL")}

    async def machine_token(self, client_id: str = "tonglu-cli") -> str:
        """A token by client credentials; CLIENT_SECRET wins over the local stack's secret."""
        secret = self._known.get("CLIENT_SECRET") or self._local_secret(client_id)
        async with httpx.AsyncClient(timeout=10) as http:
            issuer = self.address("OIDC_ISSUER")
            found = await http.get(f"{issuer}/.well-known/openid-configuration")
            answer = await http.post(
                found.raise_for_status().json()["token_endpoint"],
                data={"grant_type": "client_credentials"},
                auth=(client_id, secret),
            )
            return str(answer.raise_for_status().json()["access_token"])

    def _local_secret(self, client_id: str) -> str:
        file = self.folder / "secrets.json"
        if not file.exists():
            raise NotRunningError("CLIENT_SECRET")
        return str(json.loads(file.read_text())["clients"][client_id])

    def password(self) -> str:
        """The one password of the local stack's people."""
        file = self.folder / "secrets.json"
        if not file.exists():
            raise NotRunningError("PASSWORD")
        return str(json.loads(file.read_text())["password"])

    async def call(
        self, service: str, method: str, path: str, *, token: str = "", **options: object
    ) -> dict[str, object]:
        """Ask a service and return its JSON.

        Raises:
            RefusedError: it answered with a problem document.
        """
        answer = await self.ask(service, method, path, token=token, **options)
        content = answer.json() if answer.content else {}
        return content if isinstance(content, dict) else {"items": content}

    async def ask(
        self, service: str, method: str, path: str, *, token: str = "", **options: object
    ) -> httpx.Response:
        """Ask a service and return its answer as it is.

        Raises:
            RefusedError: it answered with a problem document.
        """
        token = token or await self.machine_token()
        base = self.address(f"{service.replace('-', '_').upper()}_URL")
        headers = {"authorization": f"Bearer {token}", **options.pop("headers", {})}  # type: ignore[dict-item]
        async with httpx.AsyncClient(base_url=base, timeout=60) as http:
            answer = await http.request(method, path, headers=headers, **options)  # type: ignore[arg-type]
        if answer.is_error:
            raise RefusedError(_words(answer))
        return answer


def _words(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
        lines = [f"{answer.status_code} {problem['detail']}"]
        lines += [f"  {_place(one)}: {one['detail']}" for one in problem.get("errors", [])]
        return "\n".join(lines)
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.text[:400]}"


def _place(error: dict[str, object]) -> str:
    field = str(error["field"])
    return f"{field} (line {error['line']}, column {error['column']})" if "line" in error else field
