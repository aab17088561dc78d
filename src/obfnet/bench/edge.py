"""What a device has to install and load: a plain install in a fresh environment, weighed and imported.

Needs the package index and a checkout of the project, since it is what a user's `pip install` does.
"""

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any, Final

from obfnet.bench.spread import in_turn, spread
from obfnet.core.errors import UsageError
from obfnet.core.progress import Progress
from obfnet.core.result import provenance

_TOOLS: Final = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
_HEAVY: Final = ("torch", "onnx", "sklearn", "scipy", "kserve", "pandas")


def bench_edge(source: Path, *, rounds: int, progress: Progress, command: str, seed: int) -> dict[str, Any]:
    """Installs the device part into a fresh environment; weighs it and times its import.

    Args:
        source: A checkout of the project.
        rounds: Imports to time, in turn with an empty interpreter.
        progress: Told of every part.
        command: For the result file.
        seed: For the result file; nothing here is random.

    Returns:
        The result, JSON-ready: megabytes (10^6 bytes on disk, apparent size), packages, import seconds.

    Raises:
        UsageError: `source` is no checkout, or the install failed.
    """
    if not (source / "pyproject.toml").is_file():
        raise UsageError("a checkout of the project", f"no pyproject.toml in {source}", "give --source")
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "venv"
        progress.start("plain install", 1)
        venv.create(environment, with_pip=True)
        python = environment / "bin" / "python"
        installed = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", str(source)],
            capture_output=True,
            text=True,
            check=False,
        )
        if installed.returncode != 0:
            last = (installed.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UsageError("a plain install to work", last, "check the package index")
        progress.finish()
        packages = next((environment / "lib").glob("python*/site-packages"))
        sizes = {
            entry.name: _size_bytes(entry)
            for entry in packages.iterdir()
            if not entry.name.startswith(_TOOLS)
        }
        progress.start("imports", rounds)
        seconds = in_turn(
            {
                name: _timed(python, code)
                for name, code in (
                    ("empty", "pass"),
                    ("obfnet", "import obfnet"),
                    ("device", "from obfnet import Device, load_pool"),
                )
            },
            rounds,
        )
        progress.finish()
        heavy = [name for name in _HEAVY if (packages / name).exists()]
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    return {
        "command": command,
        "install_megabytes": round(sum(sizes.values()) / 1e6, 1),
        "largest_megabytes": {name: round(size / 1e6, 1) for name, size in largest},
        "heavy_packages": heavy,
        "import_s": {name: spread(values, digits=3) for name, values in seconds.items()},
        "interpreter": sys.version.split()[0],
        "seed": seed,
        **provenance(),
    }


def _size_bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _timed(python: Path, code: str) -> Any:
    def call() -> float:
        begun = time.perf_counter()
        subprocess.run([python, "-c", code], check=True)
        return time.perf_counter() - begun

    return call
