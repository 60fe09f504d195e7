"""Flowable as the OA: our small host app, compiled here by ecj and run on Java from the wheel."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from local_stack.jars import Jar
from local_stack.java import JAVA, class_path, fetch_all
from local_stack.places import CACHE, RECIPES
from local_stack.process import Process, answers
from local_stack.room import Room

_RECIPE = RECIPES / "flowable"
_SOURCES = _RECIPE / "src" / "main" / "java"
_RESOURCES = _RECIPE / "src" / "main" / "resources"
_MEMORY = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def prepare(room: Room) -> Process:
    """Fetch the jars and compile the host app unless this very source was compiled before."""
    jars = fetch_all(_RECIPE, room.say)
    classes = CACHE / "flowable" / _digest()
    if not classes.exists():
        room.say("compiling")
        _compile(jars, classes)
    address = f"http://127.0.0.1:{room.port('flowable')}"
    options = room.options
    return Process(
        name="flowable",
        command=(
            *(str(JAVA), *_MEMORY, "oa.Oa"),
            f"--server.port={room.port('flowable')}",
            # Without a delay what it has acknowledged outlives a kill.
            f"--spring.datasource.url=jdbc:h2:file:{room.folder / 'oa'};WRITE_DELAY=0",
        ),
        env={
            "CLASSPATH": os.pathsep.join((str(classes), class_path(jars))),
            **({"OA_WEBHOOK_URL": options.webhook_url} if options.webhook_url else {}),
            **({"OA_WEBHOOK_SECRET": options.webhook_secret} if options.webhook_secret else {}),
            **({"OA_PEOPLE_FILE": str(options.people_file)} if options.people_file else {}),
        },
        ready=answers(f"{address}/actuator/health"),
        deadline_seconds=180,  # its first start makes the schema: a minute on a busy machine
        provides={"FLOWABLE_URL": address},
    )


def _digest() -> str:
    """One name for the sources, the resources and the jars they were compiled against."""
    digest = hashlib.sha256()
    files = (*_SOURCES.rglob("*"), *_RESOURCES.rglob("*"), _RECIPE / "jars.lock")
    for file in sorted(file for file in files if file.is_file()):
        digest.update(str(file.relative_to(_RECIPE)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _compile(jars: dict[Jar, Path], classes: Path) -> None:
    """Into a folder of its own first: another run must never see half of the classes."""
    compiler = next(path for jar, path in jars.items() if jar.is_compiler)
    classes.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=classes.parent) as folder:
        draft = Path(folder) / "classes"
        shutil.copytree(_RESOURCES, draft)
        ecj = (str(JAVA), "-jar", str(compiler), "-source", "17", "-target", "17")
        flags = ("-parameters", "-nowarn", "-proc:none", "-cp", class_path(jars))
        done = subprocess.run(  # noqa: S603 -- the command is ours
            [*ecj, *flags, "-d", str(draft), str(_SOURCES)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the OA host app does not compile:\n{done.stdout}{done.stderr}")
        if not classes.exists():
            draft.replace(classes)
