"""Imports point down, and asking for help loads no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "headtail"
LAYERS = (
    {"records", "config", "errors", "files", "progress"},
    {"data"},
    {"models", "losses", "retrieval", "evaluation"},
    {"training", "scoring", "integrations"},
    {"report"},
    {"pipeline"},
    {"cli", "__main__"},
)
LAYER = {part: number for number, parts in enumerate(LAYERS) for part in parts}
MAY_SEE = {
    "losses": {"errors"},
    "evaluation": {"records", "errors"},
    "retrieval": {"records", "errors", "progress"},
    "integrations": {"losses", "errors"},
}


def faults(source):
    """Imports that point up or sideways: 'losses/x.py imports data'."""
    found = []
    for path in sorted(source.rglob("*.py")):
        part = path.relative_to(source).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for target in imported(path):
            sideways = target != part and LAYER[target] == LAYER[part] > 0 and part != "__main__"
            unseen = part in MAY_SEE and target not in {part} | MAY_SEE[part]
            config = target == "config" and part not in {"config", "pipeline", "cli"}
            if LAYER[target] > LAYER[part] or sideways or unseen or config:
                found.append(f"{path.relative_to(source)} imports {target}")
    return found


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name and name.startswith("headtail."))


def test_imports_point_down():
    assert faults(SOURCE) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("losses/x.py", "from headtail.data import lists"),
        ("models/x.py", "import headtail.retrieval.bm25"),
        ("training/x.py", "from headtail.config import Config"),
        ("integrations/x.py", "from headtail.models.ranker import Ranker"),
        ("data/x.py", "def f():\n    from headtail.pipeline.train import train"),
    ],
)
def test_a_planted_fault_is_seen(file, line, tmp_path):
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(line)
    assert len(faults(tmp_path)) == 1


@pytest.mark.parametrize("code", ["import headtail", "import headtail.cli, sys; sys.argv = ['headtail', '--help']; headtail.cli.main()"])
def test_importing_and_help_load_no_torch(code):
    check = f"import atexit, sys\natexit.register(lambda: sys.stderr.write('torch' if 'torch' in sys.modules else 'light'))\n{code}"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.stderr == "light"


def test_every_public_name_resolves():
    import headtail

    assert all(getattr(headtail, name) is not None for name in headtail.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        headtail.nothing  # noqa: B018
