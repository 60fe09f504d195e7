"""Which file a tenant's profile is, and what a person is told about one: no trace of our code."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from oa_connector import profiles
from oa_connector.app import service
from oa_connector.vendors.profile import ProfileError

SHIPPED = Path(profiles.__path__[0])
SETTINGS = {
    "POSTGRES_DSN": "postgresql://nowhere",
    "KAFKA_BOOTSTRAP_SERVERS": "nowhere:9092",
    "OIDC_ISSUER": "http://issuer.test",
}


@pytest.fixture
def composed(monkeypatch, tmp_path):
    """The service with one OA of this profile, started in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)

    def compose(profile: Path | str) -> object:
        monkeypatch.setenv("TENANTS", tenants(profile))
        return service()

    return compose


def tenants(profile: Path | str) -> str:
    secrets = {"username": "conn", "password": "x", "callback": "hook"}
    tenant = {"kind": "http_profile", "base_url": "http://oa.test", "secrets": secrets}
    return json.dumps({"kuai": {**tenant, "profile": str(profile)}})


@pytest.mark.parametrize("given", ["{folder}/rt5.yaml", "profiles/rt5.yaml", "rt6.yaml", "."])
def test_a_profile_that_is_not_there_is_refused_whatever_we_bring_along(composed, tmp_path, given):
    profile = given.format(folder=tmp_path)
    with pytest.raises(ProfileError) as caught:
        composed(profile)
    assert str(caught.value).startswith(f"tenants.kuai.profile: there is no file {profile};")
    assert "a bare name is one of: rt5.yaml, workflow-soap.yaml" in str(caught.value)


def test_a_bare_name_is_ours_whatever_lies_where_we_are_started(composed, tmp_path):
    (tmp_path / "rt5.yaml").write_text("name: theirs")
    assert composed("rt5.yaml")
    with pytest.raises(ProfileError, match=f"^tenants.kuai.profile: {tmp_path / 'rt5.yaml'}: temp"):
        composed(tmp_path / "rt5.yaml")


def told(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oa_connector", *map(str, arguments)]
    environment = {**os.environ, **SETTINGS, **more}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("name", "kind"), [("rt5.yaml", "http_profile"), ("workflow-soap.yaml", "soap_profile")]
)
def test_a_check_says_in_one_line_that_a_profile_is_right(name, kind):
    said = told("check", SHIPPED / name, POSTGRES_DSN="")  # it needs no settings
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == f"{SHIPPED / name}: a right {kind}, {name.removesuffix('.yaml')}\n"


def test_a_check_names_each_mistake_and_ends_with_1(tmp_path):
    file = tmp_path / "kuai.yaml"
    text = (SHIPPED / "rt5.yaml").read_text()
    file.write_text(text.replace("new: pending", "new: waiting").replace("per: step", "par: step"))
    said = told("check", file)
    assert (said.returncode, said.stdout) == (1, "")
    words, unknown = said.stderr.splitlines()
    assert words.startswith(f"{file}: statuses.new: Input should be 'pending', ")
    assert unknown == f"{file}: withdraw.0.par: unknown here; known: call, per"


def test_a_check_looks_into_the_wsdl_too(tmp_path):
    shutil.copy(SHIPPED / "workflow-soap.yaml", tmp_path)
    file, wsdl = tmp_path / "workflow-soap.yaml", tmp_path / "workflow-soap.wsdl"
    said = told("check", file)
    assert (said.returncode, said.stderr.startswith(f"{wsdl}: ")) == (1, True)
    shutil.copy(SHIPPED / "workflow-soap.wsdl", tmp_path)
    file.write_text(file.read_text().replace("operation: addRemark", "operation: addNote"))
    said = told("check", file)
    assert said.stderr == f"{wsdl}: comment: the service has no operation addNote\n"


@pytest.mark.parametrize("arguments", [["check"], ["check", "a.yaml", "b.yaml"]], ids=len)
def test_a_check_is_of_one_file(arguments):
    said = told(*arguments)
    assert (said.returncode, said.stderr) == (1, "usage: python -m oa_connector check FILE\n")


@pytest.mark.parametrize("content", [None, "", "name: [", "just words", "name: x\nwsdl: y"])
def test_a_start_and_a_check_tell_the_same_and_show_no_trace(tmp_path, content):
    file = tmp_path / "kuai.yaml"
    if content is not None:
        file.write_text(content)
    for said in (told("check", file), told(TENANTS=tenants(file))):
        assert (said.returncode, said.stdout) == (1, "")
        assert str(file) in said.stderr
        assert "Traceback" not in said.stderr
