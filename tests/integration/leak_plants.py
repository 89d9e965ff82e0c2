"""One leak of each class, planted and undone: what the oracle's own test is made of."""

import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.leaks.mounts import cgroup_hierarchies, read_mounts

T = TypeVar("T")


@dataclass(frozen=True)
class Ground:
    """Where a leak is planted: a folder and a mark of our own."""

    path: Path
    mark: str
    token: str

    @property
    def link(self) -> str:
        return f"l{self.mark[:12]}"


Plant = Callable[[Ground], AbstractContextManager[str]]
PLANTS: dict[str, tuple[str, Plant]] = {}


def plants(kind: str) -> Callable[[Callable[[Ground], Iterator[str]]], Plant]:
    """Register a leak: it is in place at the yield, which tells a text its report must hold, and is undone after."""

    def register(make: Callable[[Ground], Iterator[str]]) -> Plant:
        plant = contextmanager(make)
        PLANTS[make.__name__] = (kind, plant)
        return plant

    return register


def run(*command: str | Path) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


@contextmanager
def detached(*command: str | Path, env: dict[str, str] | None = None) -> Iterator[int]:
    """A process in a session of its own whose parent is gone: only its marks tell whose it is."""
    words = [str(word) for word in command]
    subprocess.run(["setsid", "-f", *words], check=True, env=env, stdout=subprocess.DEVNULL)
    wanted = "\0".join(words).encode()

    def ours(cmdline: bytes) -> bool:
        shown = cmdline.rstrip(b"\0")
        # A command that runs another (unshare) shows the other alone once it has: the end of what was asked for.
        return shown.endswith(wanted) or (b"\0" in shown and wanted.endswith(b"\0" + shown))

    pid = wait_for(lambda: next(iter(_pids(ours)), None))
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _pids(matches: Callable[[bytes], bool]) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        with suppress(OSError):
            leads = name.isdigit() and os.getsid(int(name)) == int(name)
            if leads and matches(Path(f"/proc/{name}/cmdline").read_bytes()):
                found.append(int(name))
    return found


def wait_for(ask: Callable[[], T | None], within: float = 5.0) -> T:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if (answer := ask()) is not None:
            return answer
        time.sleep(0.01)
    raise AssertionError("it did not come about")


# --- mounts -------------------------------------------------------------------------------------------------


@plants("mount")
def tmpfs_below_a_root(ground: Ground) -> Iterator[str]:
    target = ground.path / "m"
    target.mkdir()
    run("mount", "-t", "tmpfs", "tmpfs", target)
    yield f"{target} tmpfs"
    run("umount", target)


@plants("mount")
def bind_mount_elsewhere_of_a_file_below_a_root(ground: Ground) -> Iterator[str]:
    source, target = ground.path / "f", Path(f"/tmp/elsewhere-{os.getpid()}")
    source.touch()
    target.touch()
    run("mount", "--bind", source, target)
    yield str(target)
    run("umount", target)
    target.unlink()


@plants("mount")
def overlay_whose_layers_lie_below_a_root(ground: Ground) -> Iterator[str]:
    for name in ("lower", "upper", "work"):
        (ground.path / name).mkdir()
    target = Path(f"/tmp/elsewhere-{os.getpid()}")
    target.mkdir()
    layers = f"lowerdir={ground.path}/lower,upperdir={ground.path}/upper,workdir={ground.path}/work"
    run("mount", "-t", "overlay", "-o", layers, "none", target)
    yield f"{target} overlay"
    run("umount", target)
    target.rmdir()


@plants("mount")
def second_mount_over_the_first(ground: Ground) -> Iterator[str]:
    target = ground.path / "twice"
    target.mkdir()
    for _ in range(2):
        run("mount", "-t", "tmpfs", "tmpfs", target)
    yield f"{target} tmpfs of tmpfs / #2"
    for _ in range(2):
        run("umount", target)


@plants("mount")
def mount_in_the_namespace_of_a_supervisor(ground: Ground) -> Iterator[str]:
    target = ground.path / "private"
    target.mkdir()
    script = f"mount -t tmpfs tmpfs {target}; echo ready; exec sleep 60"
    with subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield f"{target} tmpfs of tmpfs / in mnt:["
        process.kill()


@plants("mount")
def binary_mounted_by_a_runtime_that_was_killed(ground: Ground) -> Iterator[str]:
    target = Path(f"/tmp/crun.{ground.mark[-6:]}")
    target.touch()
    run("mount", "--bind", "/usr/bin/crun", target)
    yield str(target)
    run("umount", target)
    target.unlink()


@plants("file")
def folder_of_a_runtime_that_was_killed(ground: Ground) -> Iterator[str]:
    target = Path(f"/tmp/crun.{ground.mark[-6:]}")
    target.mkdir()
    yield str(target)
    target.rmdir()


# --- namespaces ---------------------------------------------------------------------------------------------


@plants("namespace")
def named_network_namespace(ground: Ground) -> Iterator[str]:
    run("ip", "netns", "add", f"lading-{ground.mark}")
    yield "net:["
    run("ip", "netns", "del", f"lading-{ground.mark}")


@plants("file")
def name_of_a_network_namespace(ground: Ground) -> Iterator[str]:
    run("ip", "netns", "add", f"lading-{ground.mark}")
    yield f"/run/netns/lading-{ground.mark}"
    run("ip", "netns", "del", f"lading-{ground.mark}")


@plants("namespace")
def network_namespace_mounted_below_a_root(ground: Ground) -> Iterator[str]:
    target = ground.path / "net"
    target.touch()
    run("unshare", f"--net={target}", "true")
    yield "net:["
    run("umount", target)


@plants("namespace")
def network_namespace_that_only_a_process_keeps(ground: Ground) -> Iterator[str]:
    with detached("unshare", "-n", "sleep", "61", env={**os.environ}) as pid:
        wait_for(lambda: os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net") or None)
        yield os.readlink(f"/proc/{pid}/ns/net")


@plants("descriptor")
def network_namespace_that_only_a_descriptor_keeps(ground: Ground) -> Iterator[str]:
    with subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        handle = os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY)
        process.kill()
    yield f"net #1 of process {os.getpid()}"
    os.close(handle)


@plants("namespace")
def ipc_namespace_of_a_process(ground: Ground) -> Iterator[str]:
    with detached("unshare", "-i", "sleep", "62", env={**os.environ}) as pid:
        wait_for(lambda: os.readlink(f"/proc/{pid}/ns/ipc") != os.readlink("/proc/self/ns/ipc") or None)
        yield os.readlink(f"/proc/{pid}/ns/ipc")


# --- network ------------------------------------------------------------------------------------------------


@contextmanager
def bridge(ground: Ground) -> Iterator[str]:
    run("ip", "link", "add", ground.link, "type", "bridge")
    try:
        yield ground.link
    finally:
        run("ip", "link", "del", ground.link)


@plants("link")
def link_named_for_us(ground: Ground) -> Iterator[str]:
    with bridge(ground) as name:
        yield name


@plants("link")
def link_with_our_alias(ground: Ground) -> Iterator[str]:
    run("ip", "link", "add", "stray0", "type", "bridge")
    run("ip", "link", "set", "stray0", "alias", f"lading-{ground.mark}")
    yield "stray0"
    run("ip", "link", "del", "stray0")


@plants("address")
def address_on_our_link(ground: Ground) -> Iterator[str]:
    with bridge(ground) as name:
        run("ip", "addr", "add", "10.255.77.1/24", "dev", name)
        yield f"10.255.77.1/24 on {name}"


@plants("address")
def address_on_loopback(ground: Ground) -> Iterator[str]:
    run("ip", "addr", "add", "127.9.9.9/32", "dev", "lo")
    yield "127.9.9.9/32 on lo"
    run("ip", "addr", "del", "127.9.9.9/32", "dev", "lo")


@plants("route")
def route_to_nowhere(ground: Ground) -> Iterator[str]:
    run("ip", "route", "add", "blackhole", "10.255.78.0/24")
    yield "10.255.78.0/24"
    run("ip", "route", "del", "blackhole", "10.255.78.0/24")


@plants("rule")
def routing_rule(ground: Ground) -> Iterator[str]:
    run("ip", "rule", "add", "fwmark", "0x7777", "lookup", "7777")
    yield "7777"
    run("ip", "rule", "del", "fwmark", "0x7777", "lookup", "7777")


@plants("neighbour")
def permanent_neighbour(ground: Ground) -> Iterator[str]:
    with bridge(ground) as name:
        run("ip", "link", "set", name, "up")
        run("ip", "neigh", "add", "10.255.77.2", "lladdr", "02:42:0a:ff:4d:02", "dev", name, "nud", "permanent")
        yield "10.255.77.2"


@plants("fdb")
def forwarding_entry(ground: Ground) -> Iterator[str]:
    with bridge(ground) as name:
        run("ip", "link", "set", name, "up")
        run("bridge", "fdb", "add", "02:42:0a:ff:4d:03", "dev", name, "self")
        yield "02:42:0a:ff:4d:03"


@contextmanager
def table(name: str) -> Iterator[str]:
    run("nft", "add", "table", "inet", name)
    try:
        yield name
    finally:
        run("nft", "delete", "table", "inet", name)


@plants("nft table")
def firewall_table(ground: Ground) -> Iterator[str]:
    with table(f"lading-{ground.mark}") as name:
        yield name


@plants("nft rule")
def rule_of_ours_in_a_strange_table(ground: Ground) -> Iterator[str]:
    with table("strange") as name:
        run("nft", "add", "chain", "inet", name, "c")
        run("nft", "add", "rule", "inet", name, "c", "iifname", ground.link, "counter", "accept")
        yield ground.link


@plants("nft element")
def element_of_a_map(ground: Ground) -> Iterator[str]:
    with table(f"lading-{ground.mark}") as name:
        run("nft", "add", "set", "inet", name, "ports", "{ type inet_service; }")
        run("nft", "add", "element", "inet", name, "ports", "{ 7777 }")
        yield "7777"


@plants("setting")
def kernel_setting(ground: Ground) -> Iterator[str]:
    path = Path("/proc/sys/net/ipv4/conf/lo/route_localnet")
    before = path.read_text()
    path.write_text("1" if before.strip() == "0" else "0")
    yield "net/ipv4/conf/lo/route_localnet"
    path.write_text(before)


@plants("listener")
def tcp_listener(ground: Ground) -> Iterator[str]:
    code = (
        "import socket, time; listener = socket.create_server(('127.0.0.1', 0)); "
        "print(listener.getsockname()[1], flush=True); time.sleep(60)"
    )
    with subprocess.Popen(["python3", "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        yield f"tcp 0100007F:{port}"
        process.kill()


@plants("unix socket")
def unix_listener(ground: Ground) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(ground.path / "s"))
        listener.listen()
        yield str(ground.path / "s")
    (ground.path / "s").unlink()


@plants("socket file")
def socket_nobody_listens_on(ground: Ground) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(ground.path / "s"))
    yield str(ground.path / "s")
    (ground.path / "s").unlink()


@plants("fifo")
def fifo(ground: Ground) -> Iterator[str]:
    os.mkfifo(ground.path / "ctl")
    yield str(ground.path / "ctl")
    (ground.path / "ctl").unlink()


# --- processes and control groups ---------------------------------------------------------------------------


@plants("process")
def child_process(ground: Ground) -> Iterator[str]:
    with subprocess.Popen(["sleep", "63"]) as process:
        yield f"{process.pid}@"
        process.kill()


@plants("process")
def orphan_with_our_mark(ground: Ground) -> Iterator[str]:
    with detached("sleep", "64", env={**os.environ}) as pid:
        yield f"{pid}@"


@plants("process")
def supervisor_known_by_its_bundle_alone(ground: Ground) -> Iterator[str]:
    code = "import time; time.sleep(65)"
    with detached("/usr/bin/python3", "-c", code, "-b", ground.path / "bundle", env={"PATH": "/bin:/usr/bin"}) as pid:
        yield f"{pid}@"


@plants("process")
def zombie(ground: Ground) -> Iterator[str]:
    pid = os.posix_spawn("/bin/true", ["true"], os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    yield "(zombie)"
    os.waitpid(pid, 0)


@plants("process")
def stranger_in_a_cgroup_of_ours(ground: Ground) -> Iterator[str]:
    folder = hierarchies()[-1] / f"lading-{ground.mark}"
    folder.mkdir()
    with detached("sleep", "66", env={"PATH": "/bin:/usr/bin"}) as pid:
        (folder / "cgroup.procs").write_text(str(pid))
        yield f"{pid}@"
    wait_for(lambda: removed(folder))


def hierarchies() -> list[Path]:
    return [Path(name) for name in cgroup_hierarchies(read_mounts())]


def removed(folder: Path) -> bool | None:
    with suppress(OSError):
        folder.rmdir()
        return True
    return None


@plants("cgroup")
def cgroup_in_the_first_hierarchy(ground: Ground) -> Iterator[str]:
    folder = hierarchies()[0] / f"lading-{ground.mark}"
    folder.mkdir()
    yield str(folder)
    folder.rmdir()


@plants("cgroup")
def nested_cgroup_in_the_last_hierarchy(ground: Ground) -> Iterator[str]:
    folder = hierarchies()[-1] / f"lading-{ground.mark}"
    (folder / "c").mkdir(parents=True)
    yield str(folder / "c")
    (folder / "c").rmdir()
    folder.rmdir()


@plants("lock")
def lock_on_a_file(ground: Ground) -> Iterator[str]:
    path = ground.path / "lock"
    path.touch()
    code = f"import fcntl,time; f=open({str(path)!r}); fcntl.flock(f, 2); print(flush=True); time.sleep(60)"
    with subprocess.Popen(["python3", "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield f":{path.stat().st_ino} "
        process.kill()


@plants("thread")
def thread_in_a_watched_process(ground: Ground) -> Iterator[str]:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    yield f"of process {os.getpid()}"
    done.set()
    thread.join()


@plants("descriptor")
def descriptor_in_a_watched_process(ground: Ground) -> Iterator[str]:
    handle = os.open(ground.path, os.O_PATH)
    yield f"{ground.path} #1 of process {os.getpid()}"
    os.close(handle)


# --- storage ------------------------------------------------------------------------------------------------


@plants("runtime state")
def state_in_the_runtime_root(ground: Ground) -> Iterator[str]:
    root = Path("/run/crun")
    existed = root.exists()
    folder = root / f"lading-{ground.mark}"
    folder.mkdir(parents=True)
    yield str(folder)
    folder.rmdir()
    if not existed:
        root.rmdir()


@plants("loop device")
def loop_device(ground: Ground) -> Iterator[str]:
    image = ground.path / "disk"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    device = run("losetup", "-f", "--show", image).strip()
    yield f"{device} of {image}"
    run("losetup", "-d", device)


@plants("file")
def shared_memory(ground: Ground) -> Iterator[str]:
    path = Path(f"/dev/shm/lading-{ground.mark}")
    path.touch()
    yield str(path)
    path.unlink()


@plants("sysv ipc")
def sysv_segment(ground: Ground) -> Iterator[str]:
    libc = ctypes.CDLL(None, use_errno=True)
    # Made by a child that lives on, as a container on the host's IPC namespace would.
    code = "import ctypes,time; print(ctypes.CDLL(None).shmget(0, 4096, 0o1600), flush=True); time.sleep(60)"
    with subprocess.Popen(["python3", "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        segment = int(process.stdout.readline())
        yield f"shm {segment}"
        process.kill()
    libc.shmctl(segment, 0, None)


@plants("file")
def folder_below_run(ground: Ground) -> Iterator[str]:
    path = Path(f"/run/lading-{ground.mark}")
    path.mkdir()
    yield str(path)
    path.rmdir()


@plants("orphan")
def snapshot_without_a_record(ground: Ground) -> Iterator[str]:
    folder = ground.path / "snapshots" / "7"
    folder.mkdir(parents=True)
    yield f"{folder} has no record"
    folder.rmdir()


@plants("missing")
def record_without_a_snapshot(ground: Ground) -> Iterator[str]:
    (ground.path / "records").write_text("8")
    yield "8 is recorded but absent"
    (ground.path / "records").unlink()


@plants("state")
def half_an_ingest(ground: Ground) -> Iterator[str]:
    folder = ground.path / "state" / "ingest"
    folder.mkdir(parents=True)
    (folder / "part").touch()
    yield str(folder / "part")
    (folder / "part").unlink()
