"""The Dockerfile keeps the rules of its linter."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HADOLINT = Path(sys.executable).with_name("hadolint")


def lint(dockerfile: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HADOLINT, "-"], input=dockerfile, capture_output=True, text=True, check=False
    )


def test_dockerfile_is_clean():
    linted = lint((ROOT / "deploy" / "Dockerfile").read_text())
    assert linted.returncode == 0, linted.stdout


def test_careless_dockerfile_is_refused():
    assert "DL3007" in lint("FROM python:latest\n").stdout
