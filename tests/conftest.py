"""What every test shares: a home of its own, no internet, and the real data where it is.

jaxtyping checks the shape annotations of the networks while the tests run.
"""

import os

# Several trainings share two cores here: a thread that waits must not keep the others from working.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    # A process a core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook(["obfnet.nets", "obfnet.attacks.decoder_network"], "beartype.beartype")

# Whoever starts the tests in the background hands down that Ctrl-C is ignored; the tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys, trust and cache of a test run never touch the user's."""
    former = {name: os.environ.get(name) for name in ("OBFNET_HOME", "OBFNET_OFFLINE")}
    os.environ["OBFNET_HOME"] = str(tmp_path_factory.mktemp("home"))
    os.environ["OBFNET_OFFLINE"] = "1"
    yield
    for name, value in former.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


# Before pytest-xdist reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups tests for processes side by side; skips those on real data, with the reason, where it is not."""
    for item in items:
        # What a file's tests share is made once; what the command line's share takes longest of all.
        group = "e2e" if "e2e" in item.keywords else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
    if os.environ.get("OBFNET_DATA") and Path(os.environ["OBFNET_DATA"]).is_dir():
        return
    skip = pytest.mark.skip(reason="real data sets are not here: set OBFNET_DATA to their folder")
    for item in items:
        if "real_data" in item.keywords:
            item.add_marker(skip)
