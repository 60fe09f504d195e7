"""The reference of a profile is what the models say that check one."""

import runpy
from pathlib import Path

import pytest
import yaml
from oa_connector.vendors.http_profile import Profile
from pydantic import TypeAdapter

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGE = REFERENCE / "profile.md"


@pytest.fixture(scope="module")
def printed():
    return runpy.run_path(str(REFERENCE / "printout.py"))["page"]()


def test_the_committed_page_is_fresh(printed):
    assert PAGE.read_text(encoding="utf-8") == printed, "run: make print-outs"


def test_a_field_of_every_part_is_on_the_page_with_its_default(printed):
    assert "| `auth` | [Basic](#basic) or [Bearer](#bearer) or [Headers](#headers) |" in printed
    assert "| `gone_when` | a list of: [Sign](#sign) | `[{status: [404]}]` |" in printed
    assert "| `json` | anything | — |" in printed
    assert "| `wsdl` | text that fits" in printed
    assert "`folder`" not in printed


def test_each_way_to_sign_in_that_the_page_shows_is_one(printed):
    shown = [yaml.safe_load(line) for line in printed.splitlines() if line.startswith("auth: ")]
    field = Profile.model_fields["auth"]

    for one in shown:
        TypeAdapter(field.annotation).validate_python(one["auth"])
    assert {one["auth"]["kind"] for one in shown} == {"basic", "bearer", "headers"}


def test_no_link_of_the_page_leads_nowhere(printed):
    sections = {
        line.lstrip("# ").lower() for line in printed.splitlines() if line.startswith("## ")
    }
    links = {part.partition(")")[0] for part in printed.split("](#")[1:]}

    assert links <= sections
