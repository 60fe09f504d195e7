import socket
import threading

import pytest
from local_stack.container import engine_answers, kafka_env, process
from local_stack.stack import Stack


def test_no_engine_answers_where_nothing_listens(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'none.sock'}")
    assert not engine_answers()


@pytest.mark.parametrize(("status", "is_engine"), [("200 OK", True), ("503 Busy", False)])
def test_engine_is_one_that_says_yes(monkeypatch, tmp_path, status, is_engine):
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        answering = threading.Thread(target=_answer_once, args=(listener, status))
        answering.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        assert engine_answers() is is_engine
        answering.join()


def test_broker_settings_reach_the_image_as_variables():
    env = kafka_env("127.0.0.1:9092")
    assert env["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert env["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:9092"


@pytest.mark.skipif(not engine_answers(), reason="no Docker engine answers here")
@pytest.mark.parametrize("part", ["kafka", "postgres"])
@pytest.mark.timeout(600)
async def test_part_runs_in_a_container(tmp_path, part):
    stack = Stack(tmp_path / "stack")
    try:
        await stack.up([], lambda _: [process(part, stack.port(part))])
    finally:
        await stack.down()


def _answer_once(listener: socket.socket, status: str) -> None:
    client, _ = listener.accept()
    with client:
        client.recv(1024)
        client.sendall(f"HTTP/1.0 {status}\r\n\r\nOK".encode())
