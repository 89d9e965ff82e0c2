"""A host and sandboxes of a test, each a network namespace, and what asks and answers in them."""

import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from drivers.kernel.mount import mounts, unmount
from drivers.kernel.namespaces import Namespace, run_in
from drivers.network.names.client import ResolverClient
from drivers.network.names.interface import NAME_SERVER, MemberNames, SandboxNames
from drivers.network.sandbox.namespaces import NetnsSandboxes

T = TypeVar("T")
A, PTR, TXT, AAAA = 1, 12, 16, 28
HOST = "f" * 64
UPSTREAM = "192.0.2.53"


class World:
    def __init__(self, folder: Path, instance: str) -> None:
        self.folder = folder
        self.run_root = folder / "r"
        self.sandboxes = NetnsSandboxes(self.run_root, instance)
        self.client = ResolverClient(self.run_root, instance)
        self.names, self.proxies = self.client.names, self.client.proxies
        self.instance = instance
        self._closing = contextlib.ExitStack()
        self.sandboxes.create(HOST)
        self.run("ip", "addr", "add", f"{UPSTREAM}/32", "dev", "lo", sandbox=HOST)

    def netns(self, sandbox_id: str) -> Path:
        return self.run_root / "netns" / sandbox_id

    def inside(self, sandbox_id: str, work: Callable[[], T]) -> T:
        fd = os.open(self.netns(sandbox_id), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return run_in(fd, Namespace.NETWORK, work)
        finally:
            os.close(fd)

    def start(self, sandbox: SandboxNames) -> None:
        """The process is started in the host's namespace, by whoever sets the first."""
        self.inside(HOST, lambda: self.names.set(sandbox))

    def sandbox(self, number: int, *members: MemberNames, forward: bool = True, servers: tuple[str, ...] = ()) -> str:
        sandbox_id = f"{number:064x}"
        self.sandboxes.create(sandbox_id)
        self.start(SandboxNames(sandbox_id, self.netns(sandbox_id), members, forward, servers))
        return sandbox_id

    def run(self, *command: str, sandbox: str, check: bool = True) -> str:
        answer = subprocess.run(
            ["nsenter", f"--net={self.netns(sandbox)}", *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or not answer.returncode, answer.stdout + answer.stderr
        return answer.stdout

    def socket(self, sandbox_id: str, kind: int = socket.SOCK_DGRAM, family: int = socket.AF_INET) -> socket.socket:
        made = self.inside(sandbox_id, lambda: socket.socket(family, kind))
        made.settimeout(5)
        self._closing.callback(made.close)
        return made

    def ask(self, sandbox_id: str, name: str, kind: int = A, *, tcp: bool = False, payload: int = 0) -> "Reply":
        return self.exchange(sandbox_id, question(name, kind, payload=payload), tcp=tcp)

    def exchange(self, sandbox_id: str, data: bytes, *, tcp: bool = False) -> "Reply":
        with self.inside(
            sandbox_id, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        ) as one:
            one.settimeout(9)
            one.connect((NAME_SERVER, 53))
            if not tcp:
                one.send(data)
                return Reply(one.recv(65535))
            one.sendall(len(data).to_bytes(2, "big") + data)
            return Reply(framed(one))

    def pid(self) -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.run_root / "resolver" / "control.sock"))
            return int(struct.unpack("=3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])

    def kill(self, number: int = signal.SIGKILL) -> None:
        process = os.pidfd_open(self.pid())
        signal.pidfd_send_signal(process, number)
        ended = select.poll()
        ended.register(process, select.POLLIN)
        assert ended.poll(5000)
        os.close(process)

    def memory(self) -> int:
        """PSS in KiB."""
        for line in Path(f"/proc/{self.pid()}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
        raise AssertionError

    def upstream(self, answers: "Answering", address: str = UPSTREAM) -> "Upstream":
        made = Upstream(self, answers, address)
        self._closing.callback(made.close)
        return made

    def engine(self, script: str, *, resolv_conf: Path | None = None) -> subprocess.Popen[bytes]:
        """Another process that uses the client, on the test's host, with a resolv.conf of its own if wanted."""
        setup = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parents[4])!r})\n"
            "from pathlib import Path\n"
            "from drivers.network.names.client import ResolverClient\n"
            "from drivers.network.names.interface import *\n"
            f"run_root = Path({str(self.run_root)!r})\n"
            f"client = ResolverClient(run_root, {self.instance!r})\n"
        )
        command = ["nsenter", f"--net={self.netns(HOST)}"]
        if resolv_conf:
            command += ["unshare", "-m", "sh", "-c", f'mount --bind {resolv_conf} /etc/resolv.conf && exec "$@"', "-"]
        process = subprocess.Popen(
            [*command, sys.executable, "-c", setup + script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._closing.enter_context(process)  # which waits for it, and closes its pipes
        self._closing.callback(process.kill)
        return process

    def close(self) -> None:
        self._closing.close()
        self.names.stop()
        for sandbox_id in self.sandboxes.list():
            self.sandboxes.delete(sandbox_id)
        for mounted in mounts():
            if mounted.target.startswith(str(self.folder)):
                unmount(Path(mounted.target))
        shutil.rmtree(self.run_root, ignore_errors=True)


@contextlib.contextmanager
def world(folder: Path, instance: str) -> Iterator[World]:
    made = World(folder, instance)
    try:
        yield made
    finally:
        made.close()


def wire_name(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label) + b"\0"


def question(name: str, kind: int = A, *, number: int = 4242, payload: int = 0) -> bytes:
    opt = struct.pack(">BHHIH", 0, 41, payload, 0, 0) if payload else b""
    head = struct.pack(">6H", number, 0x0100, 1, 0, 0, 1 if opt else 0)
    return head + wire_name(name) + struct.pack(">HH", kind, 1) + opt


def framed(one: socket.socket) -> bytes:
    data = b""
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        part = one.recv(65536)
        assert part, "the connection was closed"
        data += part
    return data[2:]


@dataclass
class Reply:
    """An answer, read by other code than what wrote it."""

    data: bytes
    number: int = 0
    rcode: int = 0
    truncated: bool = False
    name: bytes = b""
    records: list[tuple[int, int, bytes]] = field(default_factory=list)
    """Type, TTL, data."""

    def __post_init__(self) -> None:
        self.number, flags, questions, answers, _, _ = struct.unpack_from(">6H", self.data)
        assert flags & 0x8000
        self.rcode, self.truncated = flags & 15, bool(flags & 0x0200)
        at = 12
        if questions:
            at = self.data.index(b"\0", 12) + 5
            self.name = self.data[12 : at - 4]
        for _ in range(answers):
            kind, _, ttl, length = struct.unpack_from(">HHIH", self.data, at + 2)
            self.records.append((kind, ttl, self.data[at + 12 : at + 12 + length]))
            at += 12 + length

    @property
    def addresses(self) -> list[str]:
        families = {A: socket.AF_INET, AAAA: socket.AF_INET6}
        return sorted(socket.inet_ntop(families[kind], data) for kind, _, data in self.records)


Answering = Callable[[bytes, bool], bytes | None]
"""What a server says to a query, over TCP or not; None: nothing."""


class Upstream:
    """A server of the world outside."""

    def __init__(self, world: World, answers: Answering, address: str) -> None:
        self.asked: list[tuple[bytes, bool]] = []
        """Names in lower case, and whether over TCP."""
        self.ports: list[int] = []
        self.raw: list[bytes] = []
        self._answers = answers
        self._closed = False
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._udp = world.inside(HOST, lambda: socket.socket(family, socket.SOCK_DGRAM))
        self._udp.bind((address, 53))
        self._tcp = world.inside(HOST, lambda: socket.create_server((address, 53), family=family))
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._datagrams, self._streams)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._closed = True
        for one in (self._udp, self._tcp):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()

    def _note(self, data: bytes, tcp: bool) -> None:
        self.raw.append(data)
        self.asked.append((data[12 : data.index(b"\0", 12) + 1].lower(), tcp))

    def _datagrams(self) -> None:
        while not self._closed:
            try:
                data, asker = self._udp.recvfrom(65535)
            except OSError:
                return
            if not data:
                return
            self._note(data, False)
            self.ports.append(asker[1])
            answer = self._answers(data, False)
            if answer is not None:
                self._udp.sendto(answer, asker)

    def _streams(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection, contextlib.suppress(AssertionError, OSError):
                data = framed(connection)
                self._note(data, True)
                answer = self._answers(data, True)
                if answer is not None:
                    connection.sendall(len(answer).to_bytes(2, "big") + answer)


def answer(data: bytes, *addresses: str, rcode: int = 0, flags: int = 0) -> bytes:
    """A well-behaved server's."""
    end = data.index(b"\0", 12) + 5
    records = b"".join(struct.pack(">HHHIH", 0xC00C, A, 1, 60, 4) + socket.inet_aton(address) for address in addresses)
    head = data[:2] + struct.pack(">5H", 0x8180 | rcode | flags, 1, len(addresses), 0, 0)
    return head + data[12:end] + records


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
