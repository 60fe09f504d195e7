"""The topics to create are those of the contracts, and dead letters for each reader."""

import dataclasses

import pytest
from events import topic_specs, topics

SPECS = {spec.name: spec for spec in topic_specs()}


def test_every_topic_and_the_dead_letters_of_every_reader_are_created_and_nothing_else():
    expected = {topic.name for topic in topics()}
    expected |= {topic.dead_letters(group) for topic in topics() for group in topic.readers}

    assert set(SPECS) == expected


def test_dead_letters_are_written_by_the_group_that_parks_and_kept_for_two_weeks():
    letters = SPECS["claims.claim.v1.dlq.workflow"]

    assert (letters.owner, letters.readers, letters.partitions) == ("workflow", (), 3)
    assert letters.config["retention.ms"] == str(14 * 24 * 3600 * 1000)
    assert letters.pii == SPECS["claims.claim.v1"].pii


def test_a_history_is_kept_for_ever_and_a_state_is_compacted():
    assert SPECS["claims.claim.v1"].config["retention.ms"] == "-1"
    assert SPECS["claims.claim.v1"].config["cleanup.policy"] == "delete"
    assert SPECS["directory.employee.v1"].config["cleanup.policy"] == "compact"
    assert SPECS["directory.employee.v1"].config["delete.retention.ms"] == str(7 * 24 * 3600 * 1000)


def test_what_depends_on_the_cluster_stands_beside_the_settings():
    for spec in topic_specs():
        assert "min.insync.replicas" not in spec.config
        assert spec.min_insync_replicas == 2


def test_names_use_dots_alone_because_underscores_collide_in_metrics():
    for name in SPECS:
        assert "_" not in name


def test_a_spec_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        topic_specs()[0].partitions = 1
