"""Jars by a hashed lock: each line is fetched by itself, no dependency is resolved at run time."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tenacity import (
    retry,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from local_stack.places import JARS

COMPILER = "#compiler"
MAVEN_REPOSITORY = Path.home() / ".m2" / "repository"


class WrongJar(Exception):
    """A jar's bytes are not those that the lock names."""


class NoSuchJar(Exception):
    """A jar of the lock could not be fetched."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of a lock: `group:artifact:version[:classifier] sha256 [#compiler]`."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str
    is_compiler: bool = False

    @property
    def coordinate(self) -> str:
        parts = (self.group, self.artifact, self.version, self.classifier)
        return ":".join(part for part in parts if part)

    @property
    def path(self) -> Path:
        """Its place in any Maven repository."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        name = f"{self.artifact}-{self.version}{classifier}.jar"
        return Path(*self.group.split("."), self.artifact, self.version, name)

    def __str__(self) -> str:
        return f"{self.coordinate} {self.sha256}" + (f" {COMPILER}" if self.is_compiler else "")


def read_lock(lock: Path) -> tuple[Jar, ...]:
    lines = (line.strip() for line in lock.read_text().splitlines())
    return tuple(_jar(line) for line in lines if line and not line.startswith("#"))


def _jar(line: str) -> Jar:
    coordinate, sha256, *marks = line.split()
    group, artifact, version, *classifier = coordinate.split(":")
    return Jar(group, artifact, version, "".join(classifier), sha256, COMPILER in marks)


def fetch(
    jars: Iterable[Jar], progress: Callable[[Jar], None] = lambda _: None, cache: Path = JARS
) -> list[Path]:
    """Return the jars' paths in the order given, downloading what is missing.

    `progress` is called, from any thread, each time a jar is at hand.
    Raises WrongJar or NoSuchJar, which name the jar.
    """

    def at_hand(jar: Jar) -> Path:
        path = _have(jar, cache) or _download(jar, cache)
        progress(jar)
        return path

    with ThreadPoolExecutor(max_workers=8) as threads:
        return list(threads.map(at_hand, jars))


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _have(jar: Jar, cache: Path) -> Path | None:
    theirs = MAVEN_REPOSITORY / jar.path
    if theirs.is_file() and sha256_of(theirs) == jar.sha256:
        return theirs
    ours = cache / jar.path
    if ours.is_file():
        return _checked(jar, ours)
    return None


# A network stumbles now and then, and a first start asks it for hundreds of jars.
@retry(
    retry=retry_if_exception_type(NoSuchJar),
    stop=stop_after_attempt(4),
    wait=wait_exponential_jitter(multiplier=0.5, max=5),
    reraise=True,
)
def _download(jar: Jar, cache: Path) -> Path:
    """Fetch into a folder of our own first: another run must never see half a jar."""
    from jgo.maven import MavenContext

    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        component = (
            MavenContext(repo_cache=Path(folder), timeout=60)
            .project(jar.group, jar.artifact)
            .at_version(jar.version)
        )
        try:
            fetched = component.artifact(classifier=jar.classifier).resolve()
        except Exception as error:
            raise NoSuchJar(
                f"{jar.coordinate} cannot be fetched ({error}). Is the network up? "
                f"无法下载 {jar.coordinate}，请检查网络。"
            ) from error
        _checked(jar, fetched)
        place = cache / jar.path
        place.parent.mkdir(parents=True, exist_ok=True)
        fetched.replace(place)
    return place


def _checked(jar: Jar, path: Path) -> Path:
    found = sha256_of(path)
    if found != jar.sha256:
        path.unlink()
        raise WrongJar(
            f"{jar.coordinate}: the lock says sha256 {jar.sha256}, the file has {found}. "
            f"The file was deleted; run again, and if it fails again do not trust the source. "
            f"{jar.coordinate} 的校验和与 jars.lock 不符，文件已删除；请重试，仍不符则来源不可信。"
        )
    return path
