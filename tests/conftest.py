"""What every test shares: a home of its own, no internet, and the real data where it is.

jaxtyping checks the shape annotations of the networks while the tests run.
"""

import os

# Several trainings share two cores here: a thread that waits must not keep the others from working.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real data are skipped, with the reason, where the data is not."""
    if os.environ.get("OBFNET_DATA") and Path(os.environ["OBFNET_DATA"]).is_dir():
        return
    skip = pytest.mark.skip(reason="real data sets are not here: set OBFNET_DATA to their folder")
    for item in items:
        if "real_data" in item.keywords:
            item.add_marker(skip)
