"""Sweeps a model on Ray in its own process, in parts of two: `python -m ... MODEL OUT`."""

import sys
from dataclasses import replace
from pathlib import Path

from obfnet import sweep
from obfnet.protecting.settings import ProtectSettings
from obfnet.protecting.sweep import Span
from obfnet.training import engine

SETTINGS = ProtectSettings(epochs=3, attacks=("ridge",))
SPAN = Span(bits=(8, 16), count=(3,))


def main(model: str, out: Path) -> None:
    """Makes the pools."""
    # Not on import: tests are looked for here too, in a process that trains others.
    engine.PART = 2
    sweep(model, "digits", out=out, span=SPAN, settings=replace(SETTINGS, engine="ray", workers=2))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
