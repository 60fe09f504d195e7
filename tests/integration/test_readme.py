"""Every command that the READMEs show is run, and both languages show the same ones."""

import asyncio
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from local_stack.places import CACHE, CHECKOUT
from town import eventually

pytestmark = pytest.mark.timeout(420)

READMES = ("README.md", "README.zh-CN.md")
TONGLU = Path(sys.executable).parent
# What is not run word for word, and what stands for it.
INSTEAD = {
    "make demo": "make demo ONCE=1",  # it stays up until Ctrl-C
    "make demo MIRRORED=1": "make demo MIRRORED=1 ONCE=1",
    "make test": "make --dry-run test",  # it is what runs this
}


def commands(readme: str) -> list[str]:
    blocks = re.findall(
        r"^```sh\n(.*?)^```", (CHECKOUT / readme).read_text(), re.MULTILINE | re.DOTALL
    )
    return [line for block in blocks for line in block.splitlines() if line]


def run(command: str, stack: str) -> subprocess.CompletedProcess[str]:
    """In the checkout, with `tonglu` on the path, against the stack of this name under .cache."""
    environment = os.environ | {
        "PATH": f"{TONGLU}{os.pathsep}{os.environ['PATH']}",
        "TONGLU_STACK": stack,
    }
    return subprocess.run(  # noqa: S602 -- the commands are those of our README
        command,
        shell=True,
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_both_languages_show_the_same_commands() -> None:
    chinese, english = (commands(readme) for readme in READMES)
    assert chinese == english
    assert "make demo" in english


@pytest.mark.parametrize("command", [c for c in commands(READMES[0]) if c.startswith("tonglu")])
async def test_command_works_on_a_running_tonglu(command: str, town) -> None:
    # These answer 3 when some test has left something to look at: that, too, is an answer.
    may_find = command.startswith(("tonglu dlq ls", "tonglu oa drift", "tonglu replay"))

    async def said() -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(run, command, str(town.folder.relative_to(CACHE)))

    # An OA that was too busy to be probed at the start is asked again within a minute.
    right = {0, 3} if may_find else {0}
    answer = await eventually(said, until=lambda found: found.returncode in right)
    assert answer.stdout or "read 0" in answer.stderr  # nobody has handed in a claim yet


@pytest.mark.xdist_group("town")  # one whole Tonglu at a time
@pytest.mark.parametrize(
    "command",
    [*(c for c in commands(READMES[0]) if c.startswith("make")), "make demo MIRRORED=1"],
)
def test_front_door_opens(command: str) -> None:
    stack = f"test-demo-{uuid.uuid4().hex[:8]}"
    said = run(INSTEAD[command], stack)
    assert said.returncode == 0, said.stdout[-4000:] + said.stderr[-4000:]
    if command.startswith("make demo"):
        assert "payment.settled" in said.stdout
        assert "paid, and told" in said.stdout
        assert ("@ tonglu" in said.stdout) == ("MIRRORED" in command)
