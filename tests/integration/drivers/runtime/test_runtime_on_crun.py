"""The life of a task and its guards under crun too, on a host where crun 1.8 refuses until it is shown other control groups.

`script/test --all` runs everything so.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines import CHECKOUT
from tests.runtimes import CHOSEN, refusal, under

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]
FILES = [
    str(Path(__file__).with_name(name))
    for name in ("test_runtime_tasks.py", "test_runtime_guards.py", "test_hardening_probe.py")
]


@pytest.mark.skipif(bool(CHOSEN), reason="these tests run with one runtime, and that is chosen")
def test_again_under_crun() -> None:
    if not refusal("crun"):
        pytest.skip("crun runs here as it is: the tests have run under it")
    command, environment = under("crun", sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *FILES)
    result = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8000:]
    assert " passed" in result.stdout
