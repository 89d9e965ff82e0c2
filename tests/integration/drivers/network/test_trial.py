"""What of this machine networks can do without, found before one is made."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from drivers.kernel.namespaces import Namespace, run_in_new
from drivers.network.bridge import trial
from drivers.network.bridge.link_names import link_prefix

pytestmark = pytest.mark.host

TRY = "from drivers.network.bridge.trial import lacking; print(dict(lacking()))"


def inside(work: Callable[[], None]) -> None:
    run_in_new(Namespace.NETWORK, work)


def nft(rules: str) -> None:
    subprocess.run(["nft", rules], check=True)


def test_this_machine_has_all_that_networks_need_and_keeps_nothing_of_the_trial() -> None:
    def work() -> None:
        before = [subprocess.check_output(words) for words in (["ip", "link"], ["nft", "list", "ruleset"])]
        assert trial.lacking() == {}
        assert [subprocess.check_output(words) for words in (["ip", "link"], ["nft", "list", "ruleset"])] == before

    inside(work)


def test_settings_that_cannot_be_written_are_found() -> None:
    words = ["unshare", "-m", "sh", "-c", 'mount -o bind,ro /proc/sys /proc/sys && exec "$@"', "sh"]
    told = subprocess.run([*words, sys.executable, "-c", TRY], capture_output=True, text=True, check=True)
    assert "'forwarding': 'cannot set /proc/sys/net/ipv4/ip_forward to 1" in told.stdout
    assert "links" not in told.stdout


def test_who_may_make_nothing_is_told_so() -> None:
    words = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", "--"]
    told = subprocess.run([*words, sys.executable, "-c", TRY], capture_output=True, text=True, check=True)
    # A namespace of one's own can be made, and nothing in it.
    assert "'links': 'cannot make a bridge: Operation not permitted" in told.stdout
    assert "'firewall'" in told.stdout


def test_firewalls_that_drop_are_told_and_docker_is_fine() -> None:
    def work() -> None:
        assert trial.obstacles("lading") == []
        nft("add table inet fw; add chain inet fw f { type filter hook forward priority 0; policy drop; }")
        (told,) = trial.obstacles("lading")
        assert told.startswith("the chain `f` of the firewall table `inet fw` drops")
        assert told.endswith(f": let it accept what comes from or goes to `{link_prefix('lading')}*`")
        nft("delete table inet fw")
        # As Docker has it: it drops, and leaves a chain to others.
        nft("add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
        assert len(trial.obstacles("lading")) == 1
        nft("add chain ip filter DOCKER-USER")
        assert trial.obstacles("lading") == []

    inside(work)
