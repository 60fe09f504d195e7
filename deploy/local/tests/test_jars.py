import gc
import shutil
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import jgo.maven
import pytest
from jgo.maven import MavenContext
from local_stack import jars
from local_stack.jars import Jar, NoSuchJar, WrongJar, fetch, read_lock, sha256_of
from local_stack.lock import resolve
from local_stack.places import RECIPES

SLF4J = "org.slf4j:slf4j-simple:1.7.36"


@pytest.fixture
def no_maven_repository(monkeypatch, tmp_path):
    monkeypatch.setattr(jars, "MAVEN_REPOSITORY", tmp_path / "none")


@pytest.fixture
def slf4j():
    lock = read_lock(RECIPES / "kafka" / "jars.lock")
    return next(jar for jar in lock if jar.coordinate == SLF4J)


def test_lock_lines_name_coordinate_classifier_hash_and_compiler(tmp_path):
    lock = tmp_path / "jars.lock"
    lock.write_text("a.b:c:1 00\na.b:c:1:linux-x86_64 01\norg.eclipse.jdt:ecj:3 02 #compiler\n")
    plain, native, compiler = read_lock(lock)
    assert plain == Jar("a.b", "c", "1", "", "00")
    assert str(native.path) == "a/b/c/1/c-1-linux-x86_64.jar"
    assert compiler.is_compiler
    assert "".join(f"{jar}\n" for jar in read_lock(lock)) == lock.read_text()


def test_missing_jar_is_fetched_and_checked(no_maven_repository, slf4j, tmp_path):
    (path,) = fetch([slf4j], cache=tmp_path / "m2")
    assert sha256_of(path) == slf4j.sha256


class Stumbling(BaseHTTPRequestHandler):
    """A repository of one jar that is not there the first few times it is asked."""

    jar: bytes
    stumbles: int
    asked: int

    def do_GET(self) -> None:
        there = self.path.endswith(".jar")
        type(self).asked += there
        if not there or self.asked <= self.stumbles:
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("content-length", str(len(self.jar)))
        self.end_headers()
        self.wfile.write(self.jar)


@pytest.fixture
def stumbling(no_maven_repository, slf4j, tmp_path, monkeypatch):
    (path,) = fetch([slf4j], cache=tmp_path / "theirs")
    handler = type("Handler", (Stumbling,), {"jar": path.read_bytes(), "stumbles": 2, "asked": 0})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        repository = {"stumbling": f"http://127.0.0.1:{server.server_port}"}
        monkeypatch.setattr(
            jgo.maven, "MavenContext", partial(MavenContext, remote_repos=repository)
        )
        yield handler
        server.shutdown()
    gc.collect()


# jgo leaves the connection of a refusal to the collector.
leaves_connections = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@leaves_connections
def test_a_network_that_stumbles_twice_does_not_end_the_start(stumbling, slf4j, tmp_path):
    (path,) = fetch([slf4j], cache=tmp_path / "m2")
    assert sha256_of(path) == slf4j.sha256
    assert stumbling.asked == 3


@leaves_connections
def test_a_jar_that_is_nowhere_is_named_after_four_tries(stumbling, slf4j, tmp_path):
    stumbling.stumbles = 100
    with pytest.raises(NoSuchJar, match=SLF4J):
        fetch([slf4j], cache=tmp_path / "m2")
    assert stumbling.asked == 4


def test_downloaded_jar_with_another_hash_is_refused_by_name(no_maven_repository, slf4j, tmp_path):
    forged = Jar(slf4j.group, slf4j.artifact, slf4j.version, "", "0" * 64)
    with pytest.raises(WrongJar, match=SLF4J):
        fetch([forged], cache=tmp_path / "m2")
    assert not list(tmp_path.rglob("*.jar"))


def test_changed_jar_in_the_cache_is_refused_and_then_fetched_anew(
    no_maven_repository, slf4j, tmp_path
):
    (path,) = fetch([slf4j], cache=tmp_path / "m2")
    path.write_bytes(b"not this")
    with pytest.raises(WrongJar, match=SLF4J):
        fetch([slf4j], cache=tmp_path / "m2")
    assert fetch([slf4j], cache=tmp_path / "m2") == [path]


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("mvn") is None, reason="Maven, which makes the lock, is not here")
@pytest.mark.parametrize("recipe", sorted(pom.parent.name for pom in RECIPES.glob("*/pom.xml")))
def test_lock_is_what_maven_resolves_from_the_pom(recipe):
    assert resolve(RECIPES / recipe) == read_lock(RECIPES / recipe / "jars.lock")
