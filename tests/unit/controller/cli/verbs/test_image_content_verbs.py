"""load, save, import and inspect: what needs a config and layers that are some."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from drivers.images.interface import Descriptor
from drivers.images.store import ImageDriver
from drivers.snapshots.fake import FakeSnapshotter
from reconcilers.image.model import UID
from tests.unit.controller.cli.fakes import FakeBackend, FakeSession, run
from tests.unit.controller.cli.verbs.test_image_verbs import said
from tests.unit.drivers.images import tars

CONFIG = {"Cmd": ["sh"], "Env": ["A=b"], "Labels": {"evil": "\x1b[2J"}}


class TestOnRealContent:
    """What needs a config and layers that are some."""

    @pytest.fixture
    def archive(self, backend: FakeBackend, tmp_path: Path) -> bytes:
        backend.images = backend.image_operations(ImageDriver(tmp_path / "i", FakeSnapshotter()), tmp_path)
        return tars.oci_archive([tars.entry("a", b"a") + tars.END], config=CONFIG, name="shop:1")

    def test_load_gives_the_names_of_the_archive(self, backend: FakeBackend, archive: bytes, tmp_path: Path) -> None:
        assert "shop:1  " in said(backend, "image", "load", "-i", "x.tar", files={"x.tar": archive})
        assert said(backend, "image", "ls", "-o", "name") == "shop:1\n"
        assert [path for path in tmp_path.iterdir() if path.is_file()] == []

    @pytest.mark.parametrize(
        ("given", "name"),
        [("latest", ""), ("1.27", ""), ("v2", ""), ("shop", "shop:latest"), ("1.27/shop:1", "1.27/shop:1")],
    )
    def test_a_tag_alone_is_no_name(self, backend: FakeBackend, archive: bytes, given: str, name: str) -> None:
        layers = [tars.entry("b", b"b") + tars.END]
        said(backend, "image", "load", "-i", "x.tar", files={"x.tar": tars.oci_archive(layers, name=given)})
        assert said(backend, "image", "ls", "-o", "name").strip() == name

    def test_an_archive_cannot_have_any_number_of_names(self, backend: FakeBackend, archive: bytes) -> None:
        index = {"schemaVersion": 2, "manifests": []}
        [manifest] = json.loads(self.member(archive, "index.json"))["manifests"]
        annotations = ({"org.opencontainers.image.ref.name": f"shop:{number}"} for number in range(257))
        index["manifests"] = [{**manifest, "annotations": one} for one in annotations]
        blobs = [self.member(archive, name) for name in self.members(archive) if name.startswith("blobs/")]
        many = tars.layout(blobs, json.dumps(index).encode())
        error = said(backend, "image", "load", "-i", "x.tar", files={"x.tar": many}, code=1)
        assert "the archive gives 257 names" in error
        assert said(backend, "image", "ls") == ""

    @staticmethod
    def members(data: bytes) -> list[str]:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return archive.getnames()

    @staticmethod
    def member(data: bytes, name: str) -> bytes:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

    def test_an_archive_is_read_from_standard_input_too(self, backend: FakeBackend, archive: bytes) -> None:
        # The fake session puts the name it was asked for before what it packs.
        user = FakeSession("image", "load", files={"-": archive})
        user.pack = lambda path, name="": iter([archive[:700], archive[700:]])  # type: ignore[method-assign]
        assert run(backend, user) == 0, user.errors
        assert "nothing to type" in said(backend, "image", "load", code=1, tty=True)

    def test_what_is_no_archive_is_named_with_what_is_expected(
        self, backend: FakeBackend, archive: bytes, tmp_path: Path
    ) -> None:
        (tmp_path / "a").write_text("text")
        with tarfile.open(tmp_path / "root.tar", "w") as tar:
            tar.add(tmp_path / "a", "a")
        root = (tmp_path / "root.tar").read_bytes()
        for content in (b"nothing of the kind", b"", b"\x1f\x8bbroken", root):
            error = said(backend, "image", "load", "-i", "x.tar", files={"x.tar": content}, code=1)
            assert error.startswith("lading: x.tar: ")
            assert "expected is what `docker save` writes or an OCI layout" in error
            assert "`lading image import` takes root file systems" in error
            assert "sent-" not in error
            assert "the archive: " not in error
        error = said(backend, "image", "load", files={"-": b"nothing of the kind"}, code=1)
        assert error.startswith("lading: standard input: ")
        error = said(backend, "image", "import", "x.tar", files={"x.tar": b"nothing of the kind"}, code=1)
        assert error.startswith("lading: x.tar: ")
        assert "expected is a root file system: a tar" in error

    def test_a_name_that_cannot_be_is_no_flaw_of_the_file(self, backend: FakeBackend) -> None:
        error = said(backend, "image", "import", "x.tar", "Up:1", files={"x.tar": b""}, code=1)
        assert "x.tar" not in error
        assert "repository names are lower case" in error

    def test_nothing_is_named_when_one_of_the_names_is_an_objects(self, backend: FakeBackend, archive: bytes) -> None:
        said(backend, "image", "load", "-i", "x.tar", files={"x.tar": archive})
        names = backend.images._images.names()
        target = names.get("docker.io/library/shop:1")
        assert target is not None
        names.put(
            "docker.io/library/shop:1", Descriptor(target.media_type, target.digest, target.size, {UID: "0" * 32})
        )
        error = said(backend, "image", "load", "-i", "x.tar", files={"x.tar": archive}, code=1)
        assert "docker.io/library/shop:1 is a name of an image that is being deleted" in error

    def test_inspect_speaks_as_docker_does(self, backend: FakeBackend, archive: bytes) -> None:
        said(backend, "image", "load", "-i", "x.tar", files={"x.tar": archive})
        text = said(backend, "image", "inspect", "shop:1", tty=True)
        [found] = json.loads(text)
        assert "\x1b" not in text
        assert (found["RepoTags"], found["Config"]) == (["docker.io/library/shop:1"], CONFIG)
        assert (found["Os"], found["Architecture"], len(found["RootFS"]["Layers"])) == ("linux", "amd64", 1)
        assert found["RepoDigests"] == [f"docker.io/library/shop@{found['Digest']}"]

    def test_what_is_saved_is_loaded_again(self, backend: FakeBackend, archive: bytes, tmp_path: Path) -> None:
        said(backend, "image", "load", "-i", "x.tar", files={"x.tar": archive})
        [before] = json.loads(said(backend, "image", "ls", "-o", "json"))
        piped = FakeSession("image", "save", "shop:1")
        assert run(backend, piped) == 0
        filed = FakeSession("image", "save", before["id"][:19], "-o", "out.tar", "--format", "oci")
        assert run(backend, filed) == 0
        for number, data in enumerate((piped.stdout, filed.files["out.tar"])):
            fresh = ImageDriver(tmp_path / str(number), FakeSnapshotter())
            backend.images = backend.image_operations(fresh, tmp_path)
            said(backend, "image", "load", "-q", "-i", "x.tar", files={"x.tar": data})
            assert json.loads(said(backend, "image", "ls", "-o", "json")) == [before]
        assert "nothing for a terminal" in said(backend, "image", "save", "shop:1", code=1, tty=True)
        assert "there is no image" in said(backend, "image", "save", "none", code=1)

    def test_layers_without_a_history_are_in_it(self, backend: FakeBackend, archive: bytes) -> None:
        said(backend, "image", "load", "-i", "x.tar", files={"x.tar": archive})
        rows = said(backend, "image", "history", "shop:1").splitlines()
        assert (len(rows), rows[0].split()) == (2, ["CREATED", "CREATED", "BY", "SIZE", "COMMENT"])
        assert json.loads(said(backend, "image", "history", "shop:1", "-o", "json"))[0]["size"] > 0

    def test_a_root_file_system_becomes_an_image(self, backend: FakeBackend, archive: bytes, tmp_path: Path) -> None:
        root = tars.entry("etc/passwd", b"root:x:0:0::/:/bin/sh\n") + tars.END
        said(backend, "image", "import", "root.tar", "mine:1", files={"root.tar": root})
        assert said(backend, "image", "ls", "-o", "name") == "mine:1\n"
        said(backend, "image", "import", "other.tar", files={"other.tar": root.replace(b"root:x", b"r00t:x")})
        assert len(json.loads(said(backend, "image", "ls", "-a", "-o", "json"))) == 2
        assert "has no digest" in said(
            backend, "image", "import", "root.tar", f"x@sha256:{'0' * 64}", files={"root.tar": root}, code=1
        )
