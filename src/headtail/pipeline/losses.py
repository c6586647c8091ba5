"""losses: the family of losses listed, told and drawn."""

from __future__ import annotations

import inspect
from pathlib import Path

from headtail.files import atomic_writer
from headtail.losses import LOSSES, options_of


def list_losses() -> dict[str, str]:
    """Name of each loss -> what it does, in a line."""
    return {name: told(name).splitlines()[0] for name in LOSSES}


def describe(name: str) -> str:
    """A loss in full: what it does, its source, options and averaging.

    Raises:
        ConfigError: an unknown loss, with the nearest name.
    """
    options = ", ".join(f"{option}={default!r}" for option, default in options_of(name).items())
    return f"{name}({options})\n\n{told(name)}"


def told(name: str) -> str:
    """The docstring of a loss."""
    return inspect.getdoc(LOSSES[name]) or ""


def draw_losses(output: Path, name: str | None = None) -> None:
    """Write the drawing of all losses, or of one, as SVG.

    Raises:
        ConfigError: an unknown loss.
        HeadtailError: the file cannot be written.
    """
    from headtail.report.loss_drawing import draw_losses as drawn

    svg = drawn((name,)) if name is not None else drawn()
    with atomic_writer(output) as out:
        out.write(svg)
