"""A server in Docker, held by a process of ours: `python -m local_stack.container <part> <port>`.

The container lives as long as that process, so the stack records and stops it like any other.
Should the process be killed, the reaper of testcontainers removes the container.
"""

import os
import signal
import socket
import sys
from collections.abc import Mapping

from local_stack import kafka, postgres
from local_stack.process import Process

KAFKA_IMAGE = "apache/kafka:4.3.1"
POSTGRES_IMAGE = "postgres:18"
POSTGRES_ENV: Mapping[str, str] = {
    "POSTGRES_HOST_AUTH_METHOD": "trust",
    "POSTGRES_INITDB_ARGS": " ".join(postgres.LOCALE),
}


def engine_answers() -> bool:
    """Whether a Docker engine listens on the local socket."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not host.startswith("unix://"):
        return False
    try:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.settimeout(2)
            engine.connect(host.removeprefix("unix://"))
            engine.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in engine.recv(64)
    except OSError:
        return False


def process(part: str, port: int) -> Process:
    """Kafka or PostgreSQL in a container, reached on loopback like one of our own."""
    command = (sys.executable, "-m", "local_stack.container", part, str(port))
    if part == "kafka":
        bootstrap = f"127.0.0.1:{port}"
        ready, provides = kafka.ready(bootstrap), {"KAFKA_BOOTSTRAP_SERVERS": bootstrap}
    else:
        dsn = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        ready, provides = postgres.ready(dsn), {"POSTGRES_DSN": dsn}
    # The image may have to be pulled first.
    return Process(part, command, ready, provides=provides, deadline_seconds=600)


def kafka_env(advertised: str) -> dict[str, str]:
    """The image is told its settings by variables: `node.id` is KAFKA_NODE_ID."""
    settings = kafka.SETTINGS | {
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://{advertised}",
        "controller.quorum.voters": "1@localhost:9093",
    }
    return {f"KAFKA_{name.replace('.', '_').upper()}": text for name, text in settings.items()}


def hold(part: str, port: int) -> None:
    """Start the container, and end it when this process is told to stop."""
    from testcontainers.core.container import DockerContainer

    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    if part == "kafka":
        container = DockerContainer(KAFKA_IMAGE, env=kafka_env(f"127.0.0.1:{port}"))
        container.ports["9092/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment]
    else:
        container = DockerContainer(POSTGRES_IMAGE, env=dict(POSTGRES_ENV))
        container.ports["5432/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment]
    with container:
        signal.sigwait(stop)


if __name__ == "__main__":
    hold(sys.argv[1], int(sys.argv[2]))
