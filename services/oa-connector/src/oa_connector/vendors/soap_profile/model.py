"""What a SOAP profile says beyond every profile: its WSDL, how to sign in, and operations."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from oa_connector.vendors.profile import Call, ProfileBase, load
from oa_connector.vendors.profile.reading import Part


class SoapCall(Call):
    """One operation of the service; `arguments` by the names of the WSDL.

    An argument that holds JSON itself is written as a tree under `$json`.
    Its answer is read as plain data: `$` is what the operation returns, and a fault stands as
    `{"fault": {"code", "message"}}` under status 500. `parse: json` reads an answer that is JSON
    in one string. An operation that returns null, or no element at all, answers `{}`: no list.
    """

    operation: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default_factory=dict)
    parse: Literal["data", "json"] = "data"

    def sent(self) -> Any:
        return self.arguments


class Security(Part):
    """WS-Security UsernameToken; both are names of secrets. A digest never shows the password."""

    username: str
    password: str
    kind: Literal["digest", "text"] = "digest"


class Profile(ProfileBase[SoapCall]):
    """One OA with a SOAP 1.1 interface.

    `wsdl` is a file beside the profile: what an OA serves may change while nobody looks. `path` is
    where its service listens, below the address of the OA.
    """

    wsdl: str = Field(pattern=r"^[\w.-]+\.wsdl$")
    path: str = Field(pattern="^/")
    service: str | None = None
    port: str | None = None
    security: Security | None = None
    folder: Path = Field(
        Path(), description="where the profile stands; set when it is loaded", exclude=True
    )

    @property
    def wsdl_file(self) -> Path:
        return self.folder / self.wsdl


def load_profile(path: Path) -> Profile:
    """The profile in a YAML file.

    Raises:
        ProfileError: it cannot be read, or says something that is not allowed.
    """
    return load(path, Profile).model_copy(update={"folder": path.resolve().parent})
