"""What the tests of the runtime driver share: a busybox root and a driver, once for each OCI runtime."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.runtime.oci import OciRuntime
from tests.runtimes import CHOSEN, NAMES, refusal
from tests.tasks import BUSYBOX, make_rootfs


def parameter(name: str) -> Any:
    """Skipped with what the OCI runtime says, before anything else is set up."""
    said = refusal(name)
    return pytest.param(name, marks=[pytest.mark.skip(reason=said)] if said else [])


RUNTIMES = [parameter(name) for name in ([CHOSEN] if CHOSEN else NAMES)]


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    if not BUSYBOX.exists():
        pytest.fail("no /bin/busybox: apt-get install busybox-static", pytrace=False)
    return make_rootfs(tmp_path / "rootfs")


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, short_path: Path, instance: str) -> Iterator[OciRuntime]:
    made = OciRuntime(short_path / "s", short_path / "r", instance, request.param)
    yield made
    made.cleanup([])
    made.close()
