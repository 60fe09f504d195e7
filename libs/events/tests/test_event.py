"""A class that would not work on the wire is refused when it is made."""

import re
from typing import ClassVar

import pytest
from events import ClaimId, Event, Topic, event_class, event_classes
from events.claims import CLAIM, ClaimSubmitted


def test_two_classes_may_not_share_a_wire_type():
    with pytest.raises(TypeError, match=r"'claim\.submitted\.v1' is taken"):

        class Twin(Event):
            TOPIC: ClassVar[Topic] = CLAIM
            TYPE: ClassVar[str] = "claim.submitted.v1"
            claim_id: ClaimId

    assert event_class("claim.submitted.v1") is ClaimSubmitted


def test_an_event_without_its_key_field_is_refused():
    with pytest.raises(TypeError, match="key field 'claim_id' is missing"):

        class Keyless(Event):
            TOPIC: ClassVar[Topic] = CLAIM
            TYPE: ClassVar[str] = "claim.keyless.v1"

    assert event_class("claim.keyless.v1") is None


def test_a_class_made_outside_the_contracts_is_read_and_not_printed_out():
    class Rehearsed(Event):
        TOPIC: ClassVar[Topic] = CLAIM
        TYPE: ClassVar[str] = "claim.rehearsed.v1"
        claim_id: ClaimId

    assert event_class("claim.rehearsed.v1") is Rehearsed
    assert Rehearsed not in event_classes()


@pytest.mark.parametrize("cls", event_classes(), ids=lambda cls: cls.TYPE)
def test_an_event_says_what_happened_in_english_and_chinese(cls):
    assert cls.__doc__
    assert cls.__doc__.strip().endswith(".")
    assert cls.SUMMARY_ZH.endswith("。")


@pytest.mark.parametrize("cls", event_classes(), ids=lambda cls: cls.TYPE)
def test_a_wire_type_is_a_noun_a_participle_and_a_version(cls):
    assert re.fullmatch(r"[a-z]+(\.[a-z]+(-[a-z]+)*)+\.v[1-9][0-9]*", cls.TYPE)
