"""Run inside the machine, before a reboot and after it: networks, names and ports of an engine in the machine's own network.

python -m tests.vm.networks before|after

The machine has one cable; at its other end is a network namespace that stands for another machine.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.machines import Machine
from tests.registries import Registry
from tests.vm.engine import BOOT, CHECKOUT, ROOT, expect, lading, serve, status, until

ARCHIVE = CHECKOUT / ".cache" / "images" / "busybox.tar"
NOTES = Path("/run/disk/notes")
HOST, LAN = ("192.0.2.1", "2001:db8::1"), ("192.0.2.2", "2001:db8::2")
TABLE = "table inet lading-"
NETWORKS = """
apiVersion: lading/v1
kind: Network
metadata: {name: red}
spec: {subnets: [10.77.0.0/24, "fd00:77::/64"]}
---
apiVersion: lading/v1
kind: Network
metadata: {name: blue}
"""
CONTAINER = """---
apiVersion: lading/v1
kind: Container
metadata: {{name: {name}}}
spec:
  image: {image}
  command: [sh, -c, "mkdir -p /w; echo {name} >/w/index.html; exec httpd -f -p 80 -h /w"]
  networks: [{network}]
  ports: [{ports}]
  stop: {{signal: SIGKILL}}
  restart: always
"""
PORTS = '"8080:80", "127.0.0.1:8081:80", "[::1]:8082:80"'


def manifest(image: str) -> str:
    made = (("web", "red", PORTS), ("peer", "red", ""), ("apart", "blue", ""))
    return NETWORKS + "".join(
        CONTAINER.format(name=name, image=image, network=network, ports=ports) for name, network, ports in made
    )


def cable() -> Machine:
    """A machine at the other end of a cable, with all its packets to 127.0.0.1 going there instead of to itself."""
    lan = Machine("lan")
    run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", str(lan.path))
    for place, addresses in ((run, HOST), (lan, LAN)):
        place("ip", "address", "add", f"{addresses[0]}/24", "dev", "up0")
        place("ip", "address", "add", f"{addresses[1]}/64", "dev", "up0", "nodad")
        place("ip", "link", "set", "up0", "up")
    run("ip", "route", "add", "default", "via", LAN[0])
    # As on a machine that somebody has opened so: it takes packets to 127.0.0.1 from others.
    Path("/proc/sys/net/ipv4/conf/up0/route_localnet").write_text("1")
    serve_page("127.0.0.1", 9000)
    lan.set("net.ipv4.conf.up0.route_localnet", 1)
    lan("ip", "route", "delete", "local", "127.0.0.0/8", "table", "local")
    lan("ip", "address", "delete", "127.0.0.1/8", "dev", "lo")
    lan("ip", "route", "add", "127.0.0.1", "via", HOST[0], "src", LAN[0])
    return lan


def serve_page(address: str, port: int) -> None:
    folder = Path("/tmp/page")
    folder.mkdir()
    (folder / "index.html").write_text("the machine\n")
    run("busybox", "httpd", "-p", f"{address}:{port}", "-h", str(folder))


def run(*command: str, check: bool = True) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and answer.returncode:
        sys.exit(f"{' '.join(command)} ended with {answer.returncode}\n{answer.stdout}{answer.stderr}")
    return answer.stdout


def get(place: Callable[..., str], address: str, port: int, timeout: int = 20) -> str:
    """What a web server says; "" when there is none, or no way to it."""
    shown = f"[{address}]" if ":" in address else address
    return place("curl", "-s", "--max-time", str(timeout), f"http://{shown}:{port}/", check=False).strip()


def fetch(name: str, url: str) -> str:
    """The same, asked by a container."""
    command = ["lading", "--root", str(ROOT), "exec", name, "--", "timeout", "5", "wget", "-q", "-O-", url]
    return run(*command, check=False).strip()


def addresses(name: str, network: str) -> list[str]:
    found: list[str] = status(name)["networks"][network]["addresses"]
    return [one.partition("/")[0] for one in found]


def check(lan: Machine) -> None:
    """Everything that shall be reached, and then what shall not: emulation is slow, and an answer may only be late."""
    web = addresses("web", "red")
    for place, name in ((run, "the machine"), (lan, "another machine")):
        for address in HOST:
            expect(f"{name} asks {address} port 8080", get(place, address, 8080), "web")
    for address, port in (("127.0.0.1", 8080), ("::1", 8080), ("127.0.0.1", 8081), ("::1", 8082), (web[0], 80)):
        expect(f"the machine asks {address} port {port}", get(run, address, port), "web")
    expect("a container asks by name", fetch("peer", "http://web/"), "web")
    expect("and is asked", fetch("web", "http://peer/"), "peer")
    expect("another network's container asks the published port", fetch("apart", f"http://{HOST[0]}:8080/"), "web")
    check_closed(lan, web)


def check_closed(lan: Machine, web: list[str]) -> None:
    for address, via, family in zip(web, HOST, ("-4", "-6"), strict=True):
        lan("ip", family, "route", "replace", address, "via", via)
        expect(f"another machine asks {address} port 80 by a route", get(lan, address, 80, 3), "")
        expect(f"another machine pings {address}", lan.ping(address, 3), False)
        shown = f"[{address}]" if ":" in address else address
        expect(f"another network's container asks {address}", fetch("apart", f"http://{shown}/"), "")
    for address, port in ((HOST[0], 8081), ("127.0.0.1", 8081), ("127.0.0.1", 9000), (HOST[1], 8082)):
        expect(f"another machine asks {address} port {port}", get(lan, address, port, 3), "")
    expect("another network's container asks by name", fetch("apart", "http://web/"), "")


def check_table() -> None:
    """Before 6.9 the kernel has no flags owner and persist: the table is made without, and anybody may remove it."""
    rules = run("nft", "list", "ruleset")
    expect("the tables", rules.count("table "), 1)
    expect("it is ours", rules.startswith(TABLE), True)
    expect("and belongs to nobody", "flags" in rules.split("\tset", 1)[0].split("\tmap", 1)[0], False)


def works(lan: Machine) -> bool:
    """Until the engine has looked, a status is what was true before."""
    return (
        get(lan, HOST[0], 8080, 3) == "web"
        and fetch("peer", "http://web/") == "web"
        and fetch("apart", "http://apart/") == "apart"
    )


def facts() -> dict[str, object]:
    return {name: addresses(name, network) for name, network in (("web", "red"), ("peer", "red"), ("apart", "blue"))}


def before() -> None:
    lan = cable()
    serve()
    with Registry(Path("/tmp")) as registry:
        image = f"{registry.host}/team/busybox:1"
        digest = registry.push(ARCHIVE, "team/busybox:1")
        lading("apply", "-f", "-", stdin=manifest(image))
    found = json.loads(lading("image", "ls", "-o", "json"))
    expect("what was pulled", digest in json.dumps(found), True)
    check(lan)
    check_table()
    run("nft", "flush", "ruleset")
    until("flushed rules come back", lambda: get(lan, HOST[0], 8080, 3) == "web")
    check_table()
    NOTES.write_text(json.dumps([image, BOOT, facts()]))
    os.sync()
    print("acknowledged", flush=True)


def after() -> None:
    """Nothing is applied, and no registry is there: all the engine knows is on the disk."""
    image, boot, known = json.loads(NOTES.read_text())
    expect("this is another boot", boot != BOOT, True)
    lan = cable()
    expect("links before the engine", links(), [])
    serve()
    until("networks, names and ports are back", lambda: works(lan))
    expect("addresses", facts(), known)
    check(lan)
    check_table()
    again = lading("apply", "-f", "-", "--no-wait", stdin=manifest(image)).splitlines()
    expect("apply again", again[0], "nothing to change")
    check_without_an_engine(lan)
    lading("delete", "--all", "--data")
    lading("image", "prune", "-a")
    lading("shutdown")
    expect("links that are left", links(), [])
    expect("rules that are left", run("nft", "list", "ruleset"), "")


def check_without_an_engine(lan: Machine) -> None:
    """Ports are reached. Rules that somebody takes away meanwhile are missed until the next engine is there: so what is
    not reached otherwise is not reached because of them."""
    web = addresses("web", "red")
    os.kill(int(run("pgrep", "-of", f"lading --root {ROOT} serve")), signal.SIGKILL)
    expect("another machine asks while no engine runs", get(lan, HOST[0], 8080), "web")
    run("nft", "flush", "ruleset")
    for address in web:
        expect(f"without rules another machine asks {address} port 80 by a route", get(lan, address, 80), "web")
    expect("without rules another machine asks 127.0.0.1 port 9000", get(lan, "127.0.0.1", 9000), "the machine")
    expect(f"without rules another machine asks {HOST[0]} port 8080", get(lan, HOST[0], 8080, 3), "")
    Path("/run/lading/command.sock").unlink()
    serve()
    until("networks, names and ports are back", lambda: works(lan))
    check(lan)


def links() -> list[str]:
    return [one["ifname"] for one in json.loads(run("ip", "-j", "link")) if one["ifname"] not in ("lo", "up0")]


if __name__ == "__main__":
    {"before": before, "after": after}[sys.argv[1]]()
