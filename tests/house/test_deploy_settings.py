"""Every setting of every service is said in the manifests, once, and the service accepts it."""

import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chassis import ServiceSettings
from pydantic import SecretStr

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "deploy" / "k8s"
SERVICES = sorted(file.parents[2].name for file in ROOT.glob("services/*/src/*/settings.py"))


def environment(service: str, docs: list[dict[str, Any]]) -> dict[str, str]:
    """What the pods of a service are told by variables."""
    by_kind = {kind: [d for d in docs if d["kind"] == kind] for kind in ("Deployment", "ConfigMap")}
    (deployment,) = [d for d in by_kind["Deployment"] if d["metadata"]["name"] == service]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    maps = {doc["metadata"]["name"]: doc.get("data", {}) for doc in by_kind["ConfigMap"]}
    told: dict[str, str] = {}
    for source in container["envFrom"]:
        told |= maps[source["configMapRef"]["name"]]
    return told | {one["name"]: one["value"] for one in container["env"]}


def settings_of(service: str) -> type[ServiceSettings]:
    module = importlib.import_module(f"{service.replace('-', '_')}.settings")
    return module.Settings


def secret_keys(service: str) -> set[str]:
    """What the README asks the platform to put into the service's Secret."""
    rows = re.findall(
        r"^\| `([\w-]+)` \| `(\w+)` \|", (MANIFESTS / "README.md").read_text(), re.MULTILINE
    )
    return {key for name, key in rows if name in (service, "each")}


def differences(service: str, told: dict[str, str], secrets: set[str]) -> Iterator[str]:
    """A setting is said once: in a ConfigMap, or as a key of the Secret."""
    fields = settings_of(service).model_fields
    said = {name.lower() for name in told} - {"secrets_dir"}
    for name in fields.keys() - said - secrets:
        yield f"{name} is said nowhere"
    for name in (said | secrets) - fields.keys():
        yield f"{name} is no setting"
    for name in said & {n for n, field in fields.items() if SecretStr in _types(field.annotation)}:
        yield f"{name} is secret"


def _types(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *getattr(annotation, "__args__", ()))


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_in_the_manifests(render, service):
    told = environment(service, render(MANIFESTS / "overlays/prod"))
    assert list(differences(service, told, secret_keys(service))) == []


def test_forgotten_unknown_and_secret_settings_are_seen(render):
    told = environment("claims", render(MANIFESTS / "overlays/prod"))
    del told["LIMITS_PATH"]
    told |= {"LIMIT_PATH": "x", "POSTGRES_DSN": "x"}
    assert set(differences("claims", told, secret_keys("claims"))) == {
        "limits_path is said nowhere",
        "limit_path is no setting",
        "postgres_dsn is secret",
    }


@pytest.mark.parametrize("overlay", ["dev", "prod"])
@pytest.mark.parametrize("service", SERVICES)
def test_service_accepts_what_it_is_told(render, service, overlay, tmp_path, monkeypatch):
    for field in settings_of(service).model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    for key, value in environment(service, render(MANIFESTS / "overlays" / overlay)).items():
        monkeypatch.setenv(key, value)
    for key, value in development_secrets(service).items():
        (tmp_path / key).write_text(value)
    monkeypatch.setenv("SECRETS_DIR", os.fspath(tmp_path))
    settings_of(service).load()


def development_secrets(service: str) -> dict[str, str]:
    file = MANIFESTS / "overlays/dev/kustomization.yaml"
    generated = yaml.safe_load(file.read_text())["secretGenerator"]
    (literals,) = [secret["literals"] for secret in generated if secret["name"] == service]
    return dict(literal.split("=", 1) for literal in literals)
