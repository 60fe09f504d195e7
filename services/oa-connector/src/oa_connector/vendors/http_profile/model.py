"""What an HTTP profile says beyond every profile: how to sign in, and calls of HTTP."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from oa_connector.vendors.profile import Call, ProfileBase, load
from oa_connector.vendors.profile.reading import Part


class HttpCall(Call):
    """One request; `json` or `form` is its body.

    Values in `path` and `params` may hold only what needs no quoting. `body: text` reads an answer
    that is no JSON as one text, which the JSONPath `$` finds. A field of `form` that holds JSON
    itself is written as a tree under `$json`.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str = Field(pattern="^/")
    params: dict[str, str] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    json_body: Any = Field(None, alias="json")
    form: dict[str, str | dict[Literal["$json"], Any]] | None = None
    body: Literal["json", "text"] = "json"

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.json_body is not None and self.form is not None:
            raise ValueError("give either json or form")
        return self

    def sent(self) -> Any:
        return [self.path, self.params, self.headers, self.json_body, self.form]


class Basic(Part):
    """User and password; both are names of secrets."""

    kind: Literal["basic"]
    username: str
    password: str


class Bearer(Part):
    """`Authorization: Bearer`; `token` is the name of a secret."""

    kind: Literal["bearer"]
    token: str


class Headers(Part):
    """A secret in each of these headers; the values are names of secrets."""

    kind: Literal["headers"]
    headers: dict[str, str] = Field(min_length=1)
    prefix: str = ""


class Profile(ProfileBase[HttpCall]):
    """One OA with an HTTP interface."""

    auth: Annotated[Basic | Bearer | Headers, Field(discriminator="kind")]


def load_profile(path: Path) -> Profile:
    """The profile in a YAML file.

    Raises:
        ProfileError: it cannot be read, or says something that is not allowed.
    """
    return load(path, Profile)
