"""Mutation testing of one package: how many small faults, planted one at a time, do its tests notice?

    make mutants                     the losses, on two workers; the survivors are listed at the end
    make mutants PACKAGE=evaluation WORKERS=4

cosmic-ray plants the faults, each worker in a copy of the sources; a test server (server.py) runs
tests/PACKAGE against each. Left out are mutants that cannot be told from the original or are no fault anyone writes:
`X | None` in an annotation, arithmetic turned into bit operations, `&` of masks turned into arithmetic, `is` for `==`.
"""

import argparse
import collections
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TOOLS = Path(sys.executable).parent
LEFT_OUT = [
    "core/ReplaceBinaryOperator_BitOr_.*",
    "core/ReplaceBinaryOperator_(Add|Sub|Mul|Div|Pow|FloorDiv)_(RShift|LShift|BitXor|BitOr|BitAnd|Mod|FloorDiv|Pow)",
    "core/ReplaceBinaryOperator_BitAnd_(Add|Sub|Mul|Div|Pow|Mod|FloorDiv|RShift|LShift)",
    "core/ReplaceComparisonOperator_.*_(Is|IsNot)",
]


def shares(package: str, workers: int) -> list[list[str]]:
    """The package's modules in `workers` parts of about equal size."""
    parts: list[list[Path]] = [[] for _ in range(workers)]
    for module in sorted((REPOSITORY / "src/headtail" / package).glob("*.py"), key=lambda path: -path.stat().st_size):
        min(parts, key=lambda part: sum(path.stat().st_size for path in part)).append(module)
    return [[str(path.relative_to(REPOSITORY)) for path in part] for part in parts if part]


def copy_sources(root: Path, package: str) -> list[str]:
    """The sources and the package's tests under root; returns the test files, the slowest (the laws) last."""
    skip = shutil.ignore_patterns("__pycache__", "mutants")
    for folder in ("src", "tests", "docs"):
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=skip)
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    files = sorted((root / "tests" / package).glob("test_*.py"), key=lambda path: (path.stem == "test_laws", path))
    return [str(path) for path in files]


def write_config(root: Path, modules: list[str], python: str) -> None:
    command = f"{python} -S -E {HERE / 'ask.py'} {root / 'socket'}"
    (root / "cosmic-ray.toml").write_text(
        f"[cosmic-ray]\nmodule-path = {json.dumps(modules)}\ntimeout = 120.0\nexcluded-modules = []\n"
        f"test-command = {json.dumps(command)}\n[cosmic-ray.distributor]\nname = 'local'\n"
        f"[cosmic-ray.filters.operators-filter]\nexclude-operators = {json.dumps(LEFT_OUT)}\n"
    )


@contextlib.contextmanager
def worker(root: Path, package: str, modules: list[str], python: str) -> Iterator[subprocess.Popen[bytes]]:
    """cosmic-ray at work on the modules; its results go to root/session.sqlite."""
    files = copy_sources(root, package)
    write_config(root, modules, python)
    environment = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(root / "hypothesis")}
    server = subprocess.Popen([python, HERE / "server.py", root / "socket", root, *files], env=environment)
    tool = None
    try:
        while not (root / "socket").exists() and server.poll() is None:
            time.sleep(0.2)
        if subprocess.run([python, HERE / "ask.py", root / "socket"]).returncode:
            raise SystemExit(f"tests/{package} fail before any fault is planted: run make test first")
        quiet = {"cwd": root, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([TOOLS / "cosmic-ray", "init", "cosmic-ray.toml", "session.sqlite"], check=True, **quiet)
        subprocess.run([TOOLS / "cr-filter-operators", "session.sqlite", "cosmic-ray.toml"], check=True, **quiet)
        tool = subprocess.Popen([TOOLS / "cosmic-ray", "exec", "cosmic-ray.toml", "session.sqlite"], **quiet)
        yield tool
    finally:
        for process in filter(None, (tool, server)):
            process.kill()


def results(root: Path) -> tuple[int, collections.Counter[str], list[str]]:
    """Mutants to run, counts by outcome, and each survivor as 'module:line' with its change."""
    with contextlib.closing(sqlite3.connect(root / "session.sqlite", timeout=60)) as session:
        to_run = session.execute("SELECT count(*) FROM mutation_specs").fetchone()[0]
        rows = session.execute(
            "SELECT module_path, start_pos_row, worker_outcome, test_outcome, diff FROM mutation_specs"
            " JOIN work_results USING (job_id) ORDER BY 1, 2"
        ).fetchall()
    ran = [row for row in rows if row[2] != "SKIPPED"]
    counts = collections.Counter(row[3] or row[2] for row in ran)
    survivors = [f"{row[0]}:{row[1]}\n{changed(row[4])}" for row in ran if row[3] == "SURVIVED"]
    return to_run - (len(rows) - len(ran)), counts, survivors


def changed(diff: str) -> str:
    lines = [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("---", "+++")]
    return "\n".join("    " + line for line in lines)


def total(roots: list[Path]) -> tuple[int, collections.Counter[str], list[str]]:
    to_run, counts, survivors = 0, collections.Counter[str](), list[str]()
    for root in roots:
        part = results(root)
        to_run, counts, survivors = to_run + part[0], counts + part[1], survivors + part[2]
    return to_run, counts, survivors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", nargs="?", default="losses")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--python", default=str(REPOSITORY / ".venv/bin/python"), help="runs the tests")
    parser.add_argument("--at-least", type=float, default=0.9, help="share to be killed, or exit status 1")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        roots, tools = [], []
        for number, modules in enumerate(shares(args.package, args.workers)):
            roots.append(Path(folder) / str(number))
            tools.append(stack.enter_context(worker(roots[-1], args.package, modules, args.python)))
        while any(tool.poll() is None for tool in tools):
            time.sleep(30)
            to_run, counts, _ = total(roots)
            print(f"{counts.total()} of {to_run} mutants: {dict(counts)}", file=sys.stderr, flush=True)
        to_run, counts, survivors = total(roots)
    print("\n".join(["survivors:", *survivors]))
    share = counts["KILLED"] / max(1, to_run)
    print(f"{counts['KILLED']} of {to_run} mutants of headtail.{args.package} killed: {share:.1%}; {dict(counts)}")
    return 0 if share >= args.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
