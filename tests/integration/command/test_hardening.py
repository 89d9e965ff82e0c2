"""What a container is denied, asked of the kernel and tried from inside."""

import os
import stat
from pathlib import Path

import pytest

from tests.integration.command.client import Client, container, text

pytestmark = [pytest.mark.host, pytest.mark.timeout(120)]
# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP
BASELINE = 0x800405FB
NET_BIND_SERVICE, NET_RAW, CHOWN = 1 << 10, 1 << 13, 1 << 0


def test_the_baseline(client: Client) -> None:
    client.apply(container("web"))
    one = client.process("web")
    status = one.status
    assert [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")] == [BASELINE] * 3
    assert [int(status[name], 16) for name in ("CapInh", "CapAmb")] == [0, 0]
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    for kind in ("mnt", "pid", "ipc", "uts", "net", "cgroup"):
        assert one.namespace(kind) != os.readlink(f"/proc/self/ns/{kind}"), kind
    assert "Max core file size        0                    0" in Path(f"/proc/{one.pid}/limits").read_text()
    assert (one.cgroup("pids") / "pids.max").read_text().strip() == "2048"


def test_masked_and_read_only_paths(client: Client) -> None:
    client.apply(container("web"))
    mounts = client.process("web").mounts()
    for path in ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/sys"):
        assert "ro" in mounts[path], path
    for path in ("/proc/acpi", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/interrupts", "/proc/kcore"):
        if Path(path).exists():
            assert path in mounts, path
    tried = (
        "cat /proc/keys /proc/timer_list /proc/interrupts | wc -c; ls -A /proc/acpi /sys/firmware 2>/dev/null | grep -v :;"
        "echo 1 2>/dev/null > /proc/sys/vm/swappiness && echo written;"
        "echo c 2>/dev/null > /proc/sysrq-trigger && echo written; true"
    )
    assert client.inside("web", tried).split() == ["0"]


def test_system_calls_that_are_refused(client: Client) -> None:
    client.apply(container("plain"))
    refused = {
        "mount": "mount -t tmpfs x /mnt",
        "a namespace": "unshare -m true",
        "a user namespace": "unshare -U true",
        "mknod": "mknod /tmp/null c 1 3",
        "ping": "ping -c 1 127.0.0.1",
        "the host's name": "hostname other",
        "chroot out": "chroot /proc/1/root/.. true && test -e /work",
        "the kernel's log": "dmesg",
    }
    script = "\n".join(f"({tried}) >/dev/null 2>&1 && echo '{name}'" for name, tried in refused.items())
    assert client.inside("plain", f"{script}\ntrue") == ""


def test_devices(client: Client) -> None:
    client.apply(container("web"))
    dev = client.process("web").root / "dev"
    devices = {
        entry.name: (os.major(entry.lstat().st_rdev), os.minor(entry.lstat().st_rdev))
        for entry in dev.iterdir()
        if stat.S_ISCHR(entry.lstat().st_mode) or stat.S_ISBLK(entry.lstat().st_mode)
    }
    assert devices == {
        "null": (1, 3),
        "zero": (1, 5),
        "full": (1, 7),
        "random": (1, 8),
        "urandom": (1, 9),
        "tty": (5, 0),
    }
    others = {entry.name for entry in dev.iterdir()} - devices.keys()
    if "core" in others:  # crun makes it always, runc where the kernel has /proc/kcore
        others.remove("core")
        assert (dev / "core").readlink() == Path("/proc/kcore")
        assert client.inside("web", "head -c 1 /dev/core 2>/dev/null | wc -c").strip() == "0"
    assert others == {"fd", "stdin", "stdout", "stderr", "ptmx", "pts", "shm", "mqueue"}
    # Even with a device file of its own making it may not touch a disk.
    assert client.inside("web", "dd if=/dev/zero bs=1 count=3 2>/dev/null | wc -c").strip() == "3"
    allowed = client.process("web").cgroup("devices") / "devices.list"
    if allowed.exists():
        rules = allowed.read_text().splitlines()
        assert not any(rule.startswith("a ") for rule in rules)
        assert not any(rule.startswith("b ") and "rw" in rule for rule in rules)


def test_no_network_is_none_of_the_hosts(client: Client) -> None:
    client.apply(container("none"), container("host", networks=["host"]))
    none, host = client.process("none"), client.process("host")
    assert host.namespace("net") == os.readlink("/proc/self/ns/net")
    assert none.namespace("net") != os.readlink("/proc/self/ns/net")
    links = client.inside("none", "cat /proc/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in links] == ["lo"]
    assert client.inside("none", "cat /proc/net/route | wc -l").strip() in ("0", "1")


def test_a_read_only_root(client: Client) -> None:
    client.apply(container("web", security={"readOnlyRoot": True}, mounts=[{"tmpfs": {}, "target": "/tmp"}]))
    assert "ro" in client.process("web").mounts()["/"]
    assert client.inside("web", "touch /x 2>/dev/null || echo no; touch /tmp/x && echo yes") == "no\nyes\n"


def test_run_as_non_root(client: Client) -> None:
    secure = {"runAsNonRoot": True}
    output = client.apply(container("root", security=secure), flags=("--timeout", "1s"), check=False)
    assert "root" in output.replace("container/root", "")
    assert client.status("root").get("pid") is None
    client("delete", "container/root")
    client.apply(container("other", security=secure, user="1000:2000", groups=["44"]))
    status = client.process("other").status
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["2000"] * 4
    assert status["Groups"].split() == ["44"]
    assert (int(status["CapEff"], 16), int(status["CapPrm"], 16)) == (0, 0)


def test_capabilities_by_name(client: Client) -> None:
    few = {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}
    client.apply(
        container("few", security=few),
        container("more", security={"capabilities": {"add": ["NET_RAW"]}}),
        container("restricted", security={"profile": "restricted"}, user="1000"),
    )
    assert int(client.process("few").status["CapBnd"], 16) == NET_BIND_SERVICE
    assert int(client.process("more").status["CapEff"], 16) == BASELINE | NET_RAW
    restricted = client.process("restricted").status
    assert int(restricted["CapBnd"], 16) & ~NET_BIND_SERVICE == 0
    assert restricted["NoNewPrivs"] == "1"


def test_a_user_by_name(client: Client) -> None:
    client.apply(container("web"))
    passwd = client.inside("web", "cat /etc/passwd").splitlines()
    name, _, uid, gid = next(line.split(":")[:4] for line in passwd if line.split(":")[2] != "0")
    client.apply(container("named", user=name))
    status = client.process("named").status
    assert (status["Uid"].split()[0], status["Gid"].split()[0]) == (uid, gid)
    assert client("exec", "-u", name, "web", "--", "id", "-u").stdout.strip() == uid
    output = client.apply(container("nobody", user="no-such-user"), flags=("--timeout", "1s"), check=False)
    assert "no-such-user" in output


def test_limits(client: Client) -> None:
    spec = {"ulimits": {"nofile": {"soft": 123, "hard": 456}}, "resources": {"memory": "24Mi", "pids": 20}}
    client.apply(container("web", **spec))
    limits = Path(f"/proc/{client.process('web').pid}/limits").read_text()
    assert "Max open files            123                  456" in limits
    crowd = "i=0; while [ $i -lt 40 ]; do sleep 2 & i=$((i+1)); done"
    assert "fork" in client("exec", "web", "--", "sh", "-c", crowd, check=False).stderr
    assert int((client.process("web").cgroup("pids") / "pids.current").read_text()) <= 20
    eats = "head -c 200m /dev/zero | tail -c 199m | wc -c"
    client.apply(container("eats", eats, resources={"memory": "16Mi"}), flags=("--no-wait",))
    assert client("wait", "eats", check=False).returncode in (0, 137)
    assert client("logs", "eats").stdout.strip() != str(199 << 20)


def test_what_would_open_the_host_is_refused(client: Client, tmp_path: Path) -> None:
    state = client.engine.root
    (tmp_path / "detour").symlink_to(state)
    refused = {
        "/": container("web", mounts=[{"bind": "/", "target": "/host"}]),
        "/proc": container("web", mounts=[{"bind": "/proc", "target": "/host"}]),
        "the state": container("web", mounts=[{"bind": str(state), "target": "/host"}]),
        "above the state": container("web", mounts=[{"bind": str(state.parent), "target": "/host"}]),
        "a link to the state": container("web", mounts=[{"bind": str(tmp_path / "detour"), "target": "/host"}]),
        "over /proc": container("web", mounts=[{"tmpfs": {}, "target": "/proc"}]),
        "pids": container("web", pid="host"),
        "privileged": container("web", security={"privileged": True}),
        "a sysctl of the host": container("web", security={"sysctls": {"kernel.panic": "1"}}),
    }
    for name, manifest in refused.items():
        answer = client("apply", "-f", "-", "--timeout", "1s", stdin=text(manifest), check=False)
        assert answer.returncode == 1, (name, answer.stdout, answer.stderr)
        assert answer.stderr or "container/web" in answer.stdout
        if client("get", "container", "web", check=False).returncode == 0:
            assert client.status("web").get("pid") is None, name
            client("delete", "container/web")


def test_an_exec_has_no_more_rights_than_its_container(client: Client) -> None:
    client.apply(container("web"))
    status = dict(line.split(":", 1) for line in client.inside("web", "cat /proc/self/status").splitlines())
    assert int(status["CapEff"], 16) == BASELINE
    assert int(status["CapBnd"], 16) == BASELINE
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
