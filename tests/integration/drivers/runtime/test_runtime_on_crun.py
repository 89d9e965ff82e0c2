"""The whole of this folder under crun on a host where crun 1.8 refuses: cgroup hybrid with a v1 controller unmounted.

crun looks for controllers in cgroup.controllers of the v2 tree. In a mount namespace of their own the tests see an empty one
there; the host stays as it is.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drivers.kernel.cgroup import Mode, detect
from tests.integration.drivers.runtime.conftest import CHOSEN, refusal

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]
HERE = Path(__file__).parent
SCRIPT = 'mount --make-rprivate / && mount --bind /dev/null "$1/cgroup.controllers" && shift && exec "$@"'


_LIFE = ("test_runtime_tasks.py", "test_runtime_guards.py", "test_hardening_probe.py")


@pytest.mark.skipif(bool(CHOSEN), reason="this is that run")
@pytest.mark.parametrize("files", [_LIFE, pytest.param((), marks=pytest.mark.long)], ids=["life", "everything"])
def test_again_under_crun(files: tuple[str, ...]) -> None:
    hierarchies = detect()
    if not refusal("crun"):
        pytest.skip("crun runs here as it is: the tests have run under it")
    if hierarchies.mode is not Mode.HYBRID:
        pytest.skip(f"crun refuses for another reason: {refusal('crun')}")
    pytest_words = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider"]
    pytest_words += [str(HERE / file) for file in files] or [str(HERE)]
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", SCRIPT, "sh", str(hierarchies.unified), *pytest_words],
        cwd=HERE.parents[3],
        env={**os.environ, "LADING_TEST_RUNTIME": "crun"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8000:]
    assert " passed" in result.stdout
