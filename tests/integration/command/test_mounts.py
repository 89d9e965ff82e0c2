"""Every kind of mount, with its modes, owners and limits; volumes and what becomes of their data."""

import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.integration.command.client import FOREVER, Client, Document, container, document
from tests.integration.command.outside import until

pytestmark = [pytest.mark.host, pytest.mark.timeout(120)]


def mode(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def mounting(name: str, *mounts: dict[str, Any], script: str = FOREVER, **spec: Any) -> Document:
    return container(name, script, mounts=list(mounts), **spec)


def test_tmpfs(client: Client) -> None:
    client.apply(mounting("web", {"tmpfs": {"size": "1Mi", "mode": "1750"}, "target": "/scratch"}))
    one = client.process("web")
    assert {"tmpfs", "nosuid", "nodev"} <= one.mounts()["/scratch"]
    assert mode(one.root / "scratch")[0] == 0o1750
    client("exec", "web", "--", "sh", "-c", "head -c 3m /dev/zero > /scratch/big", check=False)
    assert (one.root / "scratch" / "big").stat().st_size == 1 << 20


def test_bind(client: Client, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("of the host")
    given = {"bind": str(tmp_path), "target": "/in"}
    client.apply(mounting("rw", given), mounting("ro", {**given, "readOnly": True}))
    client.inside("rw", "echo from inside > /in/there")
    assert (tmp_path / "there").read_text() == "from inside\n"
    assert client.inside("ro", "cat /in/here; touch /in/x 2>/dev/null || echo no") == "of the hostno\n"
    assert "ro" in client.process("ro").mounts()["/in"]


def test_bind_of_what_is_not_there(client: Client, tmp_path: Path) -> None:
    missing = mounting("web", {"bind": str(tmp_path / "no"), "target": "/in"})
    output = client.apply(missing, flags=("--timeout", "1s"), check=False)
    assert str(tmp_path / "no") in output
    client("delete", "container/web")
    client.apply(mounting("web", {"bind": str(tmp_path / "made"), "target": "/in", "create": True}))
    assert (tmp_path / "made").is_dir()


def test_bind_of_one_file(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "motd"
    file.write_text("hello")
    client.apply(mounting("web", {"bind": str(file), "target": "/etc/deep/motd", "readOnly": True}))
    assert client.inside("web", "cat /etc/deep/motd") == "hello"


def test_secrets_and_configs(client: Client) -> None:
    client.apply(
        document("Secret", "tls", data={"key": "the key", "cert": "the cert"}),
        document("Config", "conf", data={"a.conf": "a", "b.conf": "b"}),
        mounting(
            "web",
            {"secret": "tls", "target": "/tls", "mode": "0440", "uid": 101, "gid": 102},
            {"secret": "tls", "key": "key", "target": "/one/key"},
            {"config": "conf", "target": "/conf"},
            {"config": "conf", "key": "b.conf", "target": "/etc/b.conf"},
        ),
    )
    assert (
        client.inside("web", "cat /tls/key /tls/cert /one/key /conf/a.conf /etc/b.conf") == "the keythe certthe keyab"
    )
    listed = client.inside("web", "stat -L -c '%a %u %g' /tls/key /one/key; ls /tls /conf")
    assert listed.split() == [
        "440",
        "101",
        "102",
        "400",
        "0",
        "0",
        "/conf:",
        "a.conf",
        "b.conf",
        "/tls:",
        "cert",
        "key",
    ]
    written = (
        "for f in /tls/key /one/key /conf/a.conf /etc/b.conf; do echo x > $f && echo written; done 2>/dev/null; true"
    )
    assert client.inside("web", written) == ""
    mounts = client.process("web").mounts()
    for target in ("/tls", "/one/key", "/conf", "/etc/b.conf"):
        assert {"ro", "nosuid", "nodev"} <= mounts[target], target
    assert "tmpfs" in mounts["/tls"], "a secret is in memory alone"


def test_an_image_as_a_mount(client: Client) -> None:
    client.apply(mounting("web", {"image": {"name": "bb"}, "target": "/assets"}))
    assert "busybox" in client.inside("web", "ls /assets/bin")
    assert client.inside("web", "touch /assets/x 2>/dev/null || echo no") == "no\n"


def test_a_volume_is_retained_and_taken_back(client: Client) -> None:
    wanted = (document("Volume", "data", owner={"uid": 999, "gid": 998, "mode": "0750"}), _on_volume("web"))
    client.apply(*wanted)
    one = client.process("web")
    assert mode(one.root / "data") == (0o750, 999, 998)
    client.inside("web", "echo kept > /data/file")
    client("delete", "--all")
    assert client.json("get", "all")["items"] == []
    client.apply(*wanted)
    assert client.inside("web", "cat /data/file") == "kept\n"
    client("delete", "--all", "--data")
    client.apply(*wanted)
    assert client.inside("web", "ls /data") == ""


def _on_volume(name: str, script: str = FOREVER, **mount: Any) -> Document:
    return mounting(name, {"volume": "data", "target": "/data", **mount}, script=script)


def test_a_volume_to_be_deleted_with_its_object(client: Client) -> None:
    wanted = (document("Volume", "data", reclaim="delete"), _on_volume("web"))
    client.apply(*wanted)
    client.inside("web", "echo gone > /data/file")
    client("delete", "--all")
    client.apply(*wanted)
    assert client.inside("web", "ls /data") == ""


def test_a_shared_volume(client: Client) -> None:
    client.apply(document("Volume", "data"), _on_volume("a"), _on_volume("b", readOnly=True))
    client.inside("a", "echo shared > /data/file")
    assert client.inside("b", "cat /data/file; touch /data/x 2>/dev/null || echo no") == "shared\nno\n"
    # It outlives every container, and the next one finds it.
    client("delete", "container/a", "container/b")
    client.apply(document("Volume", "data"), _on_volume("c"))
    assert client.inside("c", "cat /data/file") == "shared\n"


def test_a_sub_path(client: Client) -> None:
    client.apply(document("Volume", "data"), _on_volume("all"))
    client.inside("all", "mkdir /data/www; echo page > /data/www/index; ln -s / /data/out")
    client.apply(_on_volume("part", subPath="www"))
    assert client.inside("part", "ls /data; cat /data/index") == "index\npage\n"
    output = client.apply(_on_volume("escapes", subPath="out/etc"), flags=("--timeout", "1s"), check=False)
    assert "container/escapes" in output
    assert client.status("escapes").get("pid") is None or not (client.process("escapes").root / "data/shadow").exists()


def test_what_the_image_has_is_copied_up(client: Client) -> None:
    volumes = [document("Volume", name) for name in ("data", "bare")]
    client.apply(
        *volumes,
        mounting("web", {"volume": "data", "target": "/etc"}),
        mounting("bare", {"volume": "bare", "target": "/etc", "copyUp": False}),
    )
    assert "root:" in client.inside("web", "cat /etc/passwd")
    assert not (client.process("bare").root / "etc" / "passwd").exists()


def test_a_volume_is_populated_once(client: Client, tmp_path: Path) -> None:
    seed = tmp_path / "seed.tar"
    (tmp_path / "hello").write_text("of the seed")
    with tarfile.open(seed, "w") as archive:
        archive.add(tmp_path / "hello", "hello")
    client.apply(document("Volume", "data", populate={"archive": str(seed)}), _on_volume("web"))
    assert client.inside("web", "cat /data/hello") == "of the seed"
    client.inside("web", "rm /data/hello")
    client("restart", "web")
    assert client.inside("web", "ls /data") == ""


def test_a_volume_in_memory(client: Client) -> None:
    client.apply(document("Volume", "data", driver="tmpfs", size="1Mi"), _on_volume("a"), _on_volume("b"))
    client.inside("a", "echo memory > /data/file")
    assert client.inside("b", "cat /data/file") == "memory\n"
    assert "tmpfs" in client.process("a").mounts()["/data"]
    client("exec", "a", "--", "sh", "-c", "head -c 3m /dev/zero > /data/big", check=False)
    assert (client.process("a").root / "data/big").stat().st_size < 1 << 20


def test_a_size_is_enforced_or_refused(client: Client) -> None:
    output = client.apply(
        document("Volume", "data", size="2Mi"), _on_volume("web"), flags=("--timeout", "1s"), check=False
    )
    volume = client.json("get", "volume", "data")
    if any(c["type"] == "Ready" and c["status"] == "True" for c in volume["status"]["conditions"]):
        client("exec", "web", "--", "sh", "-c", "head -c 5m /dev/zero > /data/big", check=False)
        assert (client.process("web").root / "data/big").stat().st_size <= 2 << 20
    else:
        assert "volume/data" in output
        assert "size" in output or "quota" in output
        assert client.status("web").get("pid") is None


def test_a_restart_and_a_deletion_leave_no_mounts(client: Client) -> None:
    def ours() -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        targets = (line.split()[4] for line in lines)
        return sorted(target for target in targets if target.startswith(f"{client.engine.base}/"))

    before = ours()
    client.apply(document("Volume", "data"), _on_volume("web"))
    running = ours()
    assert len(running) > len(before)
    client("restart", "web")
    assert ours() == running
    client("delete", "container/web")
    until(lambda: ours() == before)


def test_dev_shm_has_the_asked_size(client: Client) -> None:
    client.apply(container("web", shmSize="8Mi"))
    found = os.statvfs(client.process("web").root / "dev" / "shm")
    assert found.f_blocks * found.f_frsize == 8 << 20
