"""Audits on Ray in its own process: `python -m ... SOURCE OUT ATTACKS [KILLS]`.

While it attacks, so many workers are killed, each as soon as it is seen at work.
"""

import sys
import threading
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from obfnet.auditing.attacking import Engine
from obfnet.auditing.ray_engine import RayEngine
from obfnet.auditing.run import AuditRequest, run_audit
from obfnet.auditing.settings import AuditSettings
from obfnet.bundle import public_key_text
from obfnet.core.progress import Silent
from tests.unit.training.on_ray import kill

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
"""Of the coordinator of the audited pools."""


class Shown(Silent):
    """Prints what is said and how far the work is."""

    def advance(self, done: int, note: str = "") -> None:
        if "at work" in note:
            print(f"{done} done, {note}", flush=True)

    def say(self, line: str) -> None:
        print(line, flush=True)


def audited(source: Path, out: Path, attacks: str, engine: Engine | None = None) -> None:
    """Audits a pool on digits, or recorded pairs."""
    case = None if source.suffix else "digits"
    request = AuditRequest(source=source, case=case, trust=(public_key_text(KEY),))
    settings = AuditSettings(budget="quick", attacks=tuple(attacks.split(",")), metrics=("mse",))
    run_audit(request, settings, out=out, progress=Shown(), command="obfnet audit", engine=engine)


if __name__ == "__main__":
    kills = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    threading.Thread(target=kill, args=("_try", kills), daemon=True).start()
    audited(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], RayEngine(workers=2))
