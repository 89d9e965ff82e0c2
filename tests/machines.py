"""Machines for tests of networks: namespaces on one wire. `host` is the one where drivers and engines run, `lan` another.

    def test_it(machines: Machines, engine: Callable[..., Engine]) -> None:     # in this order: engines end first
        machines.host.run(lambda: driver.publish(...))       # a callable, in a thread that is there
        machines.host("ip", "link", "show")                  # a command there
        engine(machines.host.prefix)                         # a whole engine there
        web = machines.add("web", wired=False)               # a namespace more, with loopback alone
        machines.veth(machines.host, "v0", web, "eth0")
        web.serve(80)                                        # answers with its name, and who asked
        assert machines.lan.ask(machines.host.ipv4, 8080) == Answer("web", machines.lan.ipv4)

They are held by descriptors of the test alone: what is made in them ends with them. Sockets stay where they were made, so
what serves is a thread of the test.
"""

import json
import os
import select
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeVar

from drivers.kernel.namespaces import Namespace, run_in, run_in_new

T = TypeVar("T")
Transport = Literal["tcp", "udp"]
TRANSPORTS: tuple[Transport, ...] = ("tcp", "udp")
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
CABLE = ":cable"
WIRE4, WIRE6 = "192.0.2.{}", "2001:db8::{}"


class Answer(NamedTuple):
    server: str
    """The name of the machine that answered."""
    peer: str
    """The address it saw the question come from."""


class Machine:
    def __init__(self, name: str) -> None:
        self.name = name
        self.ipv4 = self.ipv6 = ""
        """Its addresses on the wire."""
        self._stack = ExitStack()
        self.fd = run_in_new(Namespace.NETWORK, lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        self._stack.callback(os.close, self.fd)
        self("ip", "link", "set", "lo", "up")
        for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.set(setting, 0)  # a new namespace begins with what the host has

    @property
    def path(self) -> Path:
        """The file of the namespace, for whoever takes one."""
        return Path(f"/proc/{os.getpid()}/fd/{self.fd}")

    @property
    def prefix(self) -> tuple[str, ...]:
        """Put before a command, it runs there."""
        return ("nsenter", f"--net={self.path}", "--")

    def run(self, work: Callable[[], T]) -> T:
        return run_in(self.fd, Namespace.NETWORK, work)

    def __call__(self, *command: str, check: bool = True, stdin: str | None = None) -> str:
        answer = subprocess.run(
            [*self.prefix, *command], input=stdin, capture_output=True, text=True, timeout=30, check=False
        )
        if check and answer.returncode:
            raise AssertionError(f"{self.name}: {' '.join(command)}: {answer.stderr or answer.stdout}")
        return answer.stdout

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A command that goes on until it is killed, or the test ends."""
        process = subprocess.Popen(
            [*self.prefix, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def set(self, name: str, value: object) -> None:
        """A kernel setting: `net.ipv4.ip_forward`, or `net/ipv4/conf/br.0/forwarding` when a name has a dot."""
        path = Path("/proc/sys", name if "/" in name else name.replace(".", "/"))
        self.run(lambda: path.write_text(f"{value}\n"))

    def serve(self, *ports: int, address: str = "", protocol: Transport = "tcp") -> "Server":
        """Answer every question; "" is all addresses of both families."""
        server = Server(self, ports, address, protocol)
        self._stack.callback(server.stop)
        return server

    def ask(self, address: str, port: int, protocol: Transport = "tcp", timeout: float = 2) -> Answer | None:
        """Connect and ask once. None: refused, or no answer in time; where none shall come, wait less."""
        try:
            with self.connect(address, port, protocol, timeout=timeout) as connection:
                return connection.ask(timeout)
        except OSError:
            return None

    def connect(
        self,
        address: str,
        port: int,
        protocol: Transport = "tcp",
        source: tuple[str, int] | None = None,
        timeout: float = 2,
    ) -> "Connection":
        """Raises: OSError."""
        return Connection(self.run(lambda: _connected(address, port, protocol, source, timeout)))

    def ping(self, address: str, timeout: float = 2) -> bool:
        return self.run(lambda: _echoed(address, timeout))

    def made(self) -> list[str]:
        """Links and firewall tables that others than these machines themselves have put there:
        [] when an engine has cleared up behind it."""
        links = json.loads(self("ip", "-j", "link"))
        found = [one["ifname"] for one in links if one["ifname"] != "lo" and not one.get("ifalias", "").endswith(CABLE)]
        return found + self("nft", "list", "tables").splitlines()

    def close(self) -> None:
        self._stack.close()


class Connection:
    def __init__(self, link: socket.socket) -> None:
        self.socket = link

    def ask(self, timeout: float = 2) -> Answer | None:
        """None: no answer in time, or the connection has ended."""
        try:
            self.socket.settimeout(timeout)
            self.socket.send(b"?\n")
            name, _, peer = self.socket.recv(200).decode().partition(" ")
        except OSError:
            return None
        return Answer(name, peer) if name else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


class Server:
    """Tells every question its machine's name and the address it came from."""

    def __init__(self, machine: Machine, ports: Sequence[int], address: str, protocol: Transport) -> None:
        self._name = machine.name
        self._listeners = machine.run(lambda: [_listening(address, port, protocol) for port in ports])
        self._open = list(self._listeners)
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="server")
        self._thread.start()

    def stop(self) -> None:
        self._wake.close()
        self._thread.join()
        for one in (*self._open, self._woken):
            one.close()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([*self._open, self._woken], [], [])
            if self._woken in ready:
                return
            for one in ready:
                try:
                    self._answer(one)
                except OSError:
                    self._drop(one)

    def _answer(self, one: socket.socket) -> None:
        if one.type == socket.SOCK_DGRAM:
            _, peer = one.recvfrom(200)
            one.sendto(self._text(peer), peer)
        elif one in self._listeners:
            self._open.append(one.accept()[0])
        elif one.recv(200):
            one.send(self._text(one.getpeername()))
        else:
            self._drop(one)

    def _drop(self, one: socket.socket) -> None:
        if one not in self._listeners:
            self._open.remove(one)
            one.close()

    def _text(self, peer: tuple[str, int]) -> bytes:
        return f"{self._name} {peer[0].removeprefix('::ffff:')}".encode()


class Machines:
    """All of one test. Each on the wire has `.ipv4` and `.ipv6` there; the host's default routes lead to `lan`."""

    def __init__(self, instance: str) -> None:
        """It is in the aliases of their cables."""
        self._alias = f"{instance}{CABLE}"
        self._stack = ExitStack()
        self._wired = 0
        try:
            self._switch = self.add("switch", wired=False)
            self._switch("ip", "link", "add", "wire", "up", "type", "bridge", "mcast_snooping", "0")
            self.host, self.lan = self.add("host"), self.add("lan")
            for family, via in (("-4", self.lan.ipv4), ("-6", self.lan.ipv6)):
                self.host("ip", family, "route", "add", "default", "via", via)
        except BaseException:
            self.close()
            raise

    def add(self, name: str, *, wired: bool = True) -> Machine:
        machine = Machine(name)
        self._stack.callback(machine.close)
        if wired:
            self._wired += 1
            port = f"p{self._wired}"
            self.veth(machine, "up0", self._switch, port)
            self._switch("ip", "link", "set", port, "master", "wire")
            machine.ipv4, machine.ipv6 = WIRE4.format(self._wired), WIRE6.format(self._wired)
            machine("ip", "addr", "add", f"{machine.ipv4}/24", "dev", "up0")
            machine("ip", "addr", "add", f"{machine.ipv6}/64", "dev", "up0", "nodad")
        return machine

    def veth(self, one: Machine, link: str, other: Machine, peer: str) -> None:
        """A cable between two of them, both ends up."""
        one("ip", "link", "add", link, "type", "veth", "peer", "name", peer, "netns", str(other.path))
        for machine, end in ((one, link), (other, peer)):
            # Without it IPv6 is not forwarded over a link in its first second.
            machine.set(f"net.ipv6.conf.{end}.accept_dad", 0)
            machine("ip", "link", "set", end, "alias", self._alias, "up")

    def close(self) -> None:
        self._stack.close()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET if address and ":" not in address else socket.AF_INET6


def _listening(address: str, port: int, protocol: Transport) -> socket.socket:
    link = socket.socket(_family(address), KINDS[protocol])
    link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if link.family == socket.AF_INET6:
        link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(address)))
    link.bind((address, port))
    if protocol == "tcp":
        link.listen(64)
    return link


def _connected(
    address: str, port: int, protocol: Transport, source: tuple[str, int] | None, timeout: float
) -> socket.socket:
    link = socket.socket(_family(address), KINDS[protocol])
    try:
        link.settimeout(timeout)
        if source:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            link.bind(source)
        link.connect((address, port))
    except BaseException:
        link.close()
        raise
    return link


def _echoed(address: str, timeout: float) -> bool:
    six = _family(address) == socket.AF_INET6
    with socket.socket(
        _family(address), socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    ) as link:
        link.settimeout(timeout)
        # The kernel fills in the checksum of ICMPv6 alone; of an echo with no more than this it is known.
        link.connect((address, 0))
        with suppress(OSError):
            link.send(b"\x80\0\0\0\x12\x34\0\1" if six else b"\x08\0\xe5\xca\x12\x34\0\1")
            while answer := link.recv(2000):
                kind = answer[0] if six else answer[20]
                if kind == (129 if six else 0):
                    return True
    return False
