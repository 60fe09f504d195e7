import asyncio
import base64
import json

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from local_stack.pkce import SignInRefused, sign_in
from local_stack.room import Topic
from local_stack.testing import PASSWORD
from local_stack.topics import contract_topics, create_topics


async def test_kafka_gives_back_what_was_produced(kafka):
    await create_topics(kafka.bootstrap_servers, [Topic("round.trip", 1)])
    assert await _produce_and_read(kafka.bootstrap_servers, "round.trip", b"out") == b"out"


async def test_topics_are_created_as_declared_and_left_alone_when_they_exist(kafka):
    topic = Topic("declared.v1", 3, {"cleanup.policy": "compact", "max.message.bytes": "1000"})
    await create_topics(kafka.bootstrap_servers, [topic])
    await create_topics(kafka.bootstrap_servers, [topic])

    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        described = (await admin.describe_topics([topic.name]))[0]
        replies = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic.name)]
        )
    finally:
        await admin.close()
    config = {entry[0]: entry[1] for entry in replies[0].resources[0][4]}
    assert len(described["partitions"]) == 3
    assert {name: config[name] for name in topic.config} == topic.config


async def test_every_topic_of_the_contracts_can_be_created(kafka):
    await create_topics(kafka.bootstrap_servers, contract_topics())
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        assert {topic.name for topic in contract_topics()} <= set(await admin.list_topics())
    finally:
        await admin.close()


async def test_postgres_answers_and_clones_a_template(postgres):
    template = await postgres.create_database("mould")
    connection = await asyncpg.connect(template)
    await connection.execute("create table poured (word text); insert into poured values ('同路')")
    await connection.close()

    connection = await asyncpg.connect(await postgres.create_database("cast", template="mould"))
    assert await connection.fetchval("select word from poured") == "同路"
    await connection.close()


async def test_own_kafka_keeps_its_records_over_a_kill(own_kafka):
    await create_topics(own_kafka.bootstrap_servers, [Topic("kept", 1)])
    await _produce_and_read(own_kafka.bootstrap_servers, "kept", b"before")
    await own_kafka.server.kill()
    await own_kafka.server.start()
    assert await _produce_and_read(own_kafka.bootstrap_servers, "kept", b"after") == b"before"


async def test_paused_kafka_answers_again_after_resume(own_kafka):
    own_kafka.server.pause()
    probe = asyncio.create_task(
        create_topics(own_kafka.bootstrap_servers, [Topic("after.pause", 1)])
    )
    await asyncio.wait([probe], timeout=0.5)
    assert not probe.done()
    own_kafka.server.resume()
    await asyncio.wait_for(probe, 30)


async def test_postgres_recovers_from_an_immediate_stop(own_postgres):
    dsn = await own_postgres.create_database("survivor")
    await own_postgres.stop_immediate()
    await own_postgres.start()
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("select 1") == 1
    await connection.close()


async def _produce_and_read(bootstrap: str, topic: str, value: bytes) -> bytes | None:
    """Produce one record and return the first of the topic."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await producer.start()
    await consumer.start()
    try:
        await producer.send_and_wait(topic, value)
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        return (await asyncio.wait_for(consumer.getone(), 20)).value
    finally:
        await consumer.stop()
        await producer.stop()


async def test_flowable_answers_its_administrator_and_nobody_else(flowable):
    engine = f"{flowable.url}/process-api/management/engine"
    async with httpx.AsyncClient(timeout=30) as http:
        answer = await http.get(engine, auth=flowable.admin)
        assert answer.json()["version"] == "7.2.0"
        assert (await http.get(engine)).status_code == 401
        assert (await http.get(engine, auth=("oa-admin", "wrong"))).status_code == 401


async def test_machine_gets_a_token_with_its_roles(identity):
    facts = _claims_of(await identity.token("finance-subscriber"))
    assert facts["iss"] == identity.issuer
    assert facts["aud"] == "tonglu-api"
    assert facts["roles"] == ["finance"]


async def test_person_signs_in_by_code_and_pkce(identity):
    facts = _claims_of(await sign_in(identity.issuer, "chen", PASSWORD))
    assert facts["sub"] == "chen"
    assert facts["roles"] == ["employee", "approver"]


async def test_wrong_password_is_refused(identity):
    with pytest.raises(SignInRefused, match="chen"):
        await sign_in(identity.issuer, "chen", "wrong")


def _claims_of(token: str) -> dict:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
