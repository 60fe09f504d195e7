"""Make `jars.lock` from `pom.xml` with a system Maven: `python -m local_stack.lock <folder>`."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from local_stack.jars import Jar, read_lock, sha256_of

_LIST = (
    "dependency:list",
    "-DincludeScope=runtime",
    "-DoutputAbsoluteArtifactFilename=true",
)


def resolve(folder: Path) -> tuple[Jar, ...]:
    """Ask Maven for the runtime jars of the folder's pom; compiler lines of the old lock stay."""
    maven = shutil.which("mvn")
    if maven is None:
        raise SystemExit("Maven (mvn) is needed to make a lock; running the stack needs none.")
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "list"
        command = [maven, "-q", "-B", "-f", str(folder / "pom.xml"), *_LIST]
        command.append(f"-DoutputFile={output}")
        subprocess.run(command, check=True)  # noqa: S603 -- the command is ours
        lines = [line.strip() for line in output.read_text().splitlines() if ":jar:" in line]
    lock = folder / "jars.lock"
    compilers = {jar for jar in read_lock(lock) if jar.is_compiler} if lock.exists() else set()
    jars = {_jar(line) for line in lines}
    return (*sorted(jars, key=lambda jar: jar.coordinate), *sorted(compilers, key=str))


def _jar(line: str) -> Jar:
    """Read `group:artifact:jar[:classifier]:version:scope:path`, perhaps with a module name."""
    group, artifact, _, *classifier, version, _scope, path = line.partition(" -- ")[0].split(":")
    return Jar(group, artifact, version, "".join(classifier), sha256_of(Path(path)))


def main(folder: Path) -> None:
    jars = resolve(folder)
    (folder / "jars.lock").write_text("".join(f"{jar}\n" for jar in jars))
    sys.stdout.write(f"{folder / 'jars.lock'}: {len(jars)} jars\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
