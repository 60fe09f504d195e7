"""What a profile says of callbacks: how one proves itself, and what it is about."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from oa_connector.vendors.profile.reading import Extractor, Part
from oa_connector.vendors.profile.writing import names


class Hmac(Part):
    """A signature over `signed`. `secrets` are names: the current one, then previous ones."""

    kind: Literal["hmac"]
    header: str
    timestamp: str = Field(description="the header with the time, in seconds since 1970")
    tolerance_seconds: int = Field(300, ge=1)
    algorithm: Literal["sha256", "sha384", "sha512"] = "sha256"
    signed: str = "${timestamp}.${body}"
    prefix: str = ""
    secrets: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _signs_all(self) -> Self:
        if names(self.signed) != {"timestamp", "body"}:
            raise ValueError("signed must hold ${timestamp} and ${body}, and nothing else")
        return self


class Token(Part):
    """A shared secret in a header."""

    kind: Literal["token"]
    header: str
    secrets: tuple[str, ...] = Field(min_length=1)


class Mtls(Part):
    """The fingerprint of the client's certificate, in a header that only the gateway can set."""

    kind: Literal["mtls"]
    header: str
    fingerprints: tuple[str, ...] = Field(min_length=1, description="names of secrets")


class Callback(Part):
    """How a callback proves itself, which process it is about, and how two are told apart."""

    verify: Annotated[Hmac | Token | Mtls, Field(discriminator="kind")]
    instance_id: Extractor
    delivery_id: Extractor
