"""The manifests are such as a platform team accepts.

Each check lists what breaks it. It is tried on the overlays, and on one small crime.
"""

import functools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

MANIFESTS = Path(__file__).resolve().parents[2] / "deploy" / "k8s"
OVERLAYS = {"dev": "tonglu-dev", "prod": "tonglu"}
KUBERNETES = ("1.34", "1.35", "1.36", "1.37")

Document = dict[str, Any]


@pytest.fixture
def overlay(render):
    return lambda name: render(MANIFESTS / "overlays" / name)


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
    values = [doc.get("data", {}) for doc in of_kind(docs, "ConfigMap")]
    (drain,) = [float(found["DRAIN_SECONDS"]) for found in values if "DRAIN_SECONDS" in found]
    for doc in of_kind(docs, "Deployment"):
        pod = doc["spec"]["template"]["spec"]
        needed = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] + drain + 5
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


def doubled_pace(docs: list[Document]) -> Iterator[str]:
    """An OA is called from one pod: the pace that it asks for is kept within a process."""
    calling = []
    for doc in of_kind(docs, "Deployment"):
        (container,) = doc["spec"]["template"]["spec"]["containers"]
        roles = {one["name"]: one.get("value", "") for one in container["env"]}.get("ROLES")
        if "tonglu-oa-connector" in container["image"] and "loops" in (roles or "loops"):
            calling.append(named(doc))
            if doc["spec"]["replicas"] != 1 or doc["spec"]["strategy"] != {"type": "Recreate"}:
                yield f"{named(doc)} calls an OA from two pods"
    if len(calling) != 1:
        yield f"OAs are called by {calling}"


IN_PRODUCTION = (mutable_images, foreign_kinds)
EVERYWHERE = (
    unrestricted_pods,
    host_access,
    shared_identities,
    unbounded_containers,
    careless_probes,
    undrainable_services,
    open_network,
    endless_jobs,
    short_graces,
    loose_settings,
    crowded_replicas,
    changed_selectors,
    doubled_pace,
)
CLAIMS, JOB, BUDGET = "Deployment/claims", "Job/migrate-claims", "PodDisruptionBudget/claims"
LOOPS = "Deployment/oa-connector-loops"
POD, CONTAINER = "spec.template.spec", "spec.template.spec.containers.0"
# Each: the check that must see it, a document, a path in it, a value that must not pass.
CRIMES = (
    (mutable_images, CLAIMS, f"{CONTAINER}.image", "tonglu-claims:latest"),
    (foreign_kinds, CLAIMS, "kind", "StatefulSet"),
    (foreign_kinds, "ServiceAccount/claims", "kind", "Secret"),
    (foreign_kinds, "ServiceAccount/claims", "kind", "Namespace"),
    (unrestricted_pods, JOB, f"{POD}.securityContext.runAsUser", 0),
    (unrestricted_pods, CLAIMS, f"{POD}.securityContext.seccompProfile", None),
    (unrestricted_pods, CLAIMS, f"{CONTAINER}.securityContext.readOnlyRootFilesystem", False),
    (unrestricted_pods, CLAIMS, f"{CONTAINER}.securityContext.privileged", True),
    (host_access, "Service/claims", "spec.type", "NodePort"),
    (host_access, CLAIMS, f"{POD}.hostNetwork", True),
    (host_access, CLAIMS, f"{POD}.volumes", [{"name": "tmp", "hostPath": {"path": "/etc"}}]),
    (host_access, CLAIMS, f"{CONTAINER}.ports.0.hostPort", 80),
    (shared_identities, CLAIMS, f"{POD}.serviceAccountName", "workflow"),
    (shared_identities, JOB, f"{POD}.automountServiceAccountToken", True),
    (unbounded_containers, CLAIMS, f"{CONTAINER}.resources.limits.cpu", "1"),
    (unbounded_containers, CLAIMS, f"{CONTAINER}.resources.limits.memory", "1Gi"),
    (unbounded_containers, CLAIMS, f"{CONTAINER}.resources.requests", {}),
    (careless_probes, CLAIMS, f"{CONTAINER}.livenessProbe.httpGet.path", "/healthz/ready"),
    (careless_probes, CLAIMS, f"{CONTAINER}.livenessProbe.initialDelaySeconds", 60),
    (careless_probes, CLAIMS, f"{CONTAINER}.startupProbe", {}),
    (undrainable_services, BUDGET, "spec.maxUnavailable", 0),
    (undrainable_services, BUDGET, "spec.unhealthyPodEvictionPolicy", "IfHealthyBudget"),
    (undrainable_services, BUDGET, "spec.selector.matchLabels", {"app": "claims"}),
    (open_network, "NetworkPolicy/default-deny", "spec.egress", [{}]),
    (open_network, JOB, "spec.template.metadata.labels", {}),
    (endless_jobs, JOB, "spec.backoffLimit", 6),
    (endless_jobs, JOB, "spec", {"backoffLimit": 0}),
    (short_graces, CLAIMS, f"{POD}.terminationGracePeriodSeconds", 25),
    (loose_settings, CLAIMS, f"{CONTAINER}.envFrom.0.configMapRef.name", "tonglu"),
    (crowded_replicas, CLAIMS, f"{POD}.topologySpreadConstraints", []),
    (changed_selectors, CLAIMS, "spec.selector.matchLabels.version", "2"),
    (doubled_pace, LOOPS, "spec.replicas", 2),
    (doubled_pace, LOOPS, "spec.strategy", {"rollingUpdate": {"maxSurge": 1}}),
    (doubled_pace, "Deployment/oa-connector", f"{CONTAINER}.env", []),
    (doubled_pace, LOOPS, f"{CONTAINER}.env", [{"name": "ROLES", "value": '["relay"]'}]),
)


def name_of(value: object) -> str | None:
    return getattr(value, "__name__", None)


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("check", EVERYWHERE, ids=name_of)
def test_overlay_is_accepted(overlay, check, name):
    assert list(check(overlay(name))) == []


@pytest.mark.parametrize("check", IN_PRODUCTION, ids=name_of)
def test_production_is_accepted(overlay, check):
    assert list(check(overlay("prod"))) == []


@pytest.mark.parametrize(("check", "document", "path", "value"), CRIMES, ids=name_of)
def test_check_bites(overlay, check, document, path, value):
    docs = overlay("prod")
    (place,) = [doc for doc in docs if named(doc) == document]
    *way, last = path.split(".")
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    assert list(check(docs))


def test_every_check_has_bitten():
    assert {crime[0] for crime in CRIMES} == {*IN_PRODUCTION, *EVERYWHERE}


@pytest.mark.parametrize("name", OVERLAYS)
def test_namespace_is_named_by_the_overlay_alone(overlay, render, name):
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
def test_every_supported_kubernetes_knows_every_field(overlay, schemas, name, version):
    for doc in overlay(name):
        kubernetes_validate.validate(doc, version, strict=True)


def test_misspelt_field_is_refused(overlay):
    (claims,) = [doc for doc in overlay("prod") if named(doc) == "Deployment/claims"]
    claims["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenessprobe"):
        kubernetes_validate.validate(claims, KUBERNETES[-1], strict=True)


def test_another_value_rolls_only_the_pods_that_read_it(overlay, render, tmp_path):
    changed = shutil.copytree(MANIFESTS, tmp_path / "k8s")
    settings = changed / "base/settings/notifier.env"
    settings.write_text(
        settings.read_text().replace("DELIVERY_ATTEMPTS=20", "DELIVERY_ATTEMPTS=21")
    )
    before, after = dict(pods(overlay("prod"))), dict(pods(render(changed / "overlays/prod")))
    rolled = {name for name, pod in after.items() if pod != before[name]}
    assert rolled == {"Deployment/notifier", "Deployment/notifier-view", "Job/migrate-notifier"}
