"""Result files: every figure of a document comes from one, and it says how it was made.

A result carries seed, configuration, versions and machine; this module adds the last two.
"""

import os
import platform
from importlib import metadata
from typing import Any, Final

_PACKAGES: Final = ("obfnet", "numpy", "onnxruntime", "torch", "kserve", "scikit-learn")


def provenance() -> dict[str, Any]:
    """Versions of what made a result and the kind of machine; no names, no paths.

    Returns:
        `{"versions": {package: version}, "machine": {...}}`.
    """
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
        },
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor()
