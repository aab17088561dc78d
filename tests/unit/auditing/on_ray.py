"""Audits on Ray in its own process: `python -m ... SOURCE OUT ATTACKS [KILLS]`.

While it attacks, so many workers are killed, each as soon as it is seen at work.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from obfnet.auditing.attacking import Engine
from obfnet.auditing.ray_engine import RayEngine
from obfnet.auditing.run import AuditRequest, run_audit
from obfnet.auditing.settings import AuditSettings
from obfnet.core.progress import Silent


class Shown(Silent):
    """Prints what is said and how far the work is."""

    def advance(self, done: int, note: str = "") -> None:
        if "at work" in note:
            print(f"{done} done, {note}", flush=True)

    def say(self, line: str) -> None:
        print(line, flush=True)


def audited(source: Path, out: Path, attacks: str, engine: Engine | None = None) -> None:
    """Audits a pool on digits, or recorded pairs."""
    request = AuditRequest(source=source, case=None if source.suffix else "digits")
    settings = AuditSettings(budget="quick", attacks=tuple(attacks.split(",")), metrics=("mse",))
    run_audit(request, settings, out=out, progress=Shown(), command="obfnet audit", engine=engine)


def workers() -> list[int]:
    """Processes that run a trial now, by the title that Ray gives them."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            title = (folder / "cmdline").read_bytes() if folder.name.isdigit() else b""
        except OSError:
            continue
        if title.startswith(b"ray::_try"):
            found.append(int(folder.name))
    return found


def kill(times: int) -> None:
    """Kills a worker at work, so many times."""
    while times:
        time.sleep(0.2)
        if pids := workers():
            os.kill(pids[0], signal.SIGKILL)
            print("killed", flush=True)
            times -= 1
            time.sleep(1.0)


if __name__ == "__main__":
    threading.Thread(target=kill, args=(int(sys.argv[4]) if len(sys.argv) > 4 else 0,), daemon=True).start()
    audited(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], RayEngine(workers=2))
