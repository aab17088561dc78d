"""Protects a model on Ray in its own process, in parts of two: `python -m ... MODEL OUT`."""

import sys
from dataclasses import replace
from pathlib import Path

from obfnet import protect
from obfnet.protecting.settings import ProtectSettings
from obfnet.training import engine

SETTINGS = ProtectSettings(bits=16, count=3, epochs=3, attacks=("ridge",))


def main(model: str, out: Path) -> None:
    """Makes the pool."""
    # Not on import: tests are looked for here too, in a process that trains others.
    engine.PART = 2
    protect(model, "digits", out=out, settings=replace(SETTINGS, engine="ray", workers=2))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
