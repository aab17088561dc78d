"""Where ObfNet keeps what outlives a command: data cache, keys, trusted keys.

`OBFNET_HOME` moves everything at once; tests and shared machines use it.
"""

import os
from pathlib import Path


def home() -> Path:
    """The folder for keys and trust: `OBFNET_HOME`, or `~/.config/obfnet`. Not made here."""
    return Path(os.environ.get("OBFNET_HOME") or Path.home() / ".config" / "obfnet")


def cache() -> Path:
    """The folder for downloaded data: `OBFNET_HOME/cache`, or `~/.cache/obfnet`. Not made here."""
    configured = os.environ.get("OBFNET_HOME")
    return Path(configured) / "cache" if configured else Path.home() / ".cache" / "obfnet"
