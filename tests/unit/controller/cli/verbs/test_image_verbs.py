"""image and df: what is here, under which names, for whom."""

import json
from pathlib import Path
from typing import Any

import pytest

from drivers.images.fake import FakeImages
from drivers.images.interface import Descriptor, Image
from reconcilers.image.model import UID
from resources.errors import Unavailable
from resources.kinds import Kind
from tests.unit.controller.cli.fake_objects import status
from tests.unit.controller.cli.fakes import PLATFORM, FakeBackend, FakeSession, run

NGINX = "docker.io/library/nginx:1.27"


@pytest.fixture
def images(backend: FakeBackend) -> FakeImages:
    made = FakeImages()
    made.publish(NGINX, layers=(b"base", b"nginx"))
    made.publish("registry.local:5000/shop:1", layers=(b"base", b"shop"))
    backend.images = backend.image_operations(made, Path("/nonexistent"))
    return made


def said(backend: FakeBackend, *argv: str, code: int = 0, **options: Any) -> str:
    user = FakeSession(*argv, **options)
    assert run(backend, user) == code, user.errors
    return user.text if code == 0 else user.errors


def named(images: FakeImages) -> dict[str, Descriptor]:
    return dict(images.names().list())


def owned(images: FakeImages, backend: FakeBackend, name: str) -> None:
    """What the reconciler makes of an Image object whose tag that is."""
    item = backend.objects.add(Kind.IMAGE, "site", {"from": {"archive": "./site.tar"}, "tags": [name]})
    images.plant("site.tar", layers=(b"site",))
    [image] = images.import_archive(Path("site.tar"), platform=PLATFORM)
    notes = {UID: item.metadata.uid}
    for one in (f"uid:{item.metadata.uid}", name):
        images.names().put(one, Descriptor(image.manifest.media_type, image.id, image.manifest.size, notes))


def test_pull_names_what_came_and_leaves_an_event(backend: FakeBackend, images: FakeImages) -> None:
    text = said(backend, "image", "pull", "nginx:1.27")
    assert list(named(images)) == [NGINX]
    assert text.splitlines()[-1].startswith("nginx:1.27  ")
    assert "nginx:1.27: asking the registry" in text
    [event] = backend.events.read()
    assert (event.reason, event.key.kind) == ("Pulled", Kind.IMAGE)
    assert images.image(named(images)[NGINX].digest) is not None


def test_pull_as_json_says_how_it_gets_on_and_what_came(backend: FakeBackend, images: FakeImages) -> None:
    lines = [json.loads(line) for line in said(backend, "image", "pull", "nginx:1.27", "-o", "json").splitlines()]
    assert [line["event"] for line in lines] == ["progress", "progress", "progress", "pulled"]
    assert lines[-1]["names"] == [NGINX]
    assert lines[-1]["id"].startswith("sha256:")
    assert {line["what"][:7] for line in lines[:-1]} == {"resolve", "sha256:"}


def test_a_quiet_pull_says_the_id_alone(backend: FakeBackend, images: FakeImages) -> None:
    assert said(backend, "image", "pull", "-q", "nginx:1.27").startswith("sha256:")


def test_what_cannot_be_pulled_is_an_error(backend: FakeBackend, images: FakeImages) -> None:
    assert "has no image docker.io/library/none:latest" in said(backend, "image", "pull", "none", code=1)
    assert "repository names are lower case" in said(backend, "image", "pull", "Shop", code=1)
    assert named(images) == {}


def test_a_registry_that_is_down_is_told_with_what_to_do(backend: FakeBackend, images: FakeImages) -> None:
    def down(*_: object, **options: object) -> object:
        raise flaw

    images.pull = down  # type: ignore[method-assign,assignment]
    flaw = Unavailable("r.local:5000 cannot be reached: Connection refused")
    error = said(backend, "image", "pull", "r.local:5000/shop:1", code=1)
    assert error.startswith(f"lading: {flaw} (look whether it runs and can be reached from here, and try again")
    assert "`registries` in settings.yaml" in error
    flaw = Unavailable("the address of r.local cannot be found", hint="check the name")
    assert said(backend, "image", "pull", "r.local/shop:1", code=1) == f"lading: {flaw}\n"


def test_who_says_an_objects_name_is_told_of_the_object(backend: FakeBackend, images: FakeImages) -> None:
    backend.objects.add(Kind.IMAGE, "site", {"from": {"archive": "./site.tar"}})
    for verb in ("inspect", "history"):
        for word, hint in (("site", "describe image/site` tells"), ("image/site", "describe image/site` tells")):
            error = said(backend, "image", verb, word, code=1)
            assert "there is no image" in error
            assert hint in error
        assert "tells of the object" not in said(backend, "image", verb, "other", code=1)


def test_the_object_that_keeps_an_image_comes_before_those_that_use_it(
    backend: FakeBackend, images: FakeImages
) -> None:
    owned(images, backend, "shop:1")
    for name in ("a", "b", "c"):
        backend.objects.add(Kind.CONTAINER, name, {"image": {"name": "site"}})
    assert said(backend, "image", "ls").splitlines()[1].endswith("image/site, container/a, 2 more")


def test_ctrl_c_ends_a_pull(backend: FakeBackend, images: FakeImages) -> None:
    user = FakeSession("image", "pull", "nginx:1.27")
    user.interrupted = lambda: True
    assert run(backend, user) == 130
    assert named(images) == {}


def test_what_is_pruned_before_it_has_its_name_is_pulled_again(backend: FakeBackend, images: FakeImages) -> None:
    pull, left = images.pull, [images.prune, lambda keep: 0]

    def unlucky(*words: Any, **options: Any) -> Image:
        image = pull(*words, **options)
        left.pop(0)([])
        return image

    images.pull = unlucky  # type: ignore[method-assign]
    said(backend, "image", "pull", "nginx:1.27")
    assert images.image(named(images)[NGINX].digest) is not None


def test_ls_has_a_line_a_name_with_who_uses_it(backend: FakeBackend, images: FakeImages) -> None:
    said(backend, "image", "pull", "nginx:1.27", "registry.local:5000/shop:1")
    said(backend, "image", "tag", "nginx:1.27", "mine:2")
    backend.objects.add(Kind.CONTAINER, "web", {"image": "nginx:1.27"})
    rows = [line.split() for line in said(backend, "image", "ls").splitlines()]
    assert rows[0] == ["NAME", "TAG", "ID", "CREATED", "SIZE", "USED", "BY"]
    assert [(row[0], row[1], row[-1]) for row in rows[1:]] == [
        ("mine", "2", "container/web"),
        ("nginx", "1.27", "container/web"),
        ("registry.local:5000/shop", "1", "-"),
    ]
    assert said(backend, "image", "ls", "-o", "name").split() == ["mine:2", "nginx:1.27", "registry.local:5000/shop:1"]
    shown = json.loads(said(backend, "image", "ls", "-o", "json"))
    assert shown[0]["names"] == ["docker.io/library/mine:2", NGINX]
    assert shown[0]["usedBy"] == [{"kind": "Container", "namespace": "default", "name": "web"}]
    assert "sha256:" in said(backend, "image", "ls", "-o", "wide")


def test_what_has_no_name_is_shown_when_asked_for(backend: FakeBackend, images: FakeImages) -> None:
    said(backend, "image", "pull", "nginx:1.27")
    images.names().delete(NGINX)
    assert said(backend, "image", "ls") == ""
    assert said(backend, "image", "ls", "-a").splitlines()[1].split()[:2] == ["-", "-"]


def test_an_image_is_said_by_the_beginning_of_its_id(backend: FakeBackend, images: FakeImages) -> None:
    said(backend, "image", "pull", "nginx:1.27", "registry.local:5000/shop:1")
    ids = {one["names"][0]: one["id"][7:] for one in json.loads(said(backend, "image", "ls", "-o", "json"))}
    said(backend, "image", "tag", ids[NGINX][:12], "mine:2")
    assert named(images)["docker.io/library/mine:2"].digest == named(images)[NGINX].digest
    assert "there is no image docker.io/library/abcdef0123:latest" in said(
        backend, "image", "tag", "abcdef0123", "x", code=1
    )
    assert "has no digest" in said(backend, "image", "tag", "nginx:1.27", f"x@sha256:{'0' * 64}", code=1)


def test_rm_takes_a_name_away_and_frees_what_nothing_needs(backend: FakeBackend, images: FakeImages) -> None:
    said(backend, "image", "pull", "nginx:1.27")
    said(backend, "image", "tag", "nginx:1.27", "mine:2")
    assert said(backend, "image", "rm", "nginx:1.27").splitlines() == ["nginx:1.27 removed", "freed 0 B"]
    assert "freed 0 B" not in said(backend, "image", "rm", "mine:2")
    assert named(images) == {}
    assert list(images.content().walk()) == []


def test_rm_by_id_takes_every_name(backend: FakeBackend, images: FakeImages) -> None:
    said(backend, "image", "pull", "nginx:1.27")
    said(backend, "image", "tag", "nginx:1.27", "mine:2")
    digest = json.loads(said(backend, "image", "ls", "-o", "json"))[0]["id"]
    said(backend, "image", "rm", digest[7:19])
    assert named(images) == {}


def test_an_implied_image_is_spoken_of_as_the_container_that_implies_it(
    backend: FakeBackend, images: FakeImages
) -> None:
    said(backend, "image", "pull", "nginx:1.27")
    backend.objects.add(Kind.CONTAINER, "web", {"image": "nginx:1.27"})
    item = backend.objects.add(Kind.IMAGE, "implied", {"from": {"registry": "nginx:1.27"}}, implied=True)
    target = named(images)[NGINX]
    record = Descriptor(target.media_type, target.digest, target.size, {UID: item.metadata.uid})
    images.names().put(f"uid:{item.metadata.uid}", record)
    [shown] = json.loads(said(backend, "image", "ls", "-o", "json"))
    assert [one["name"] for one in shown["usedBy"]] == ["web"]
    assert "is the image of container/web (" in said(backend, "image", "rm", "nginx:1.27", code=1)


def test_what_is_used_is_not_removed_unless_it_is_forced(backend: FakeBackend, images: FakeImages) -> None:
    said(backend, "image", "pull", "nginx:1.27")
    backend.objects.add(Kind.CONTAINER, "web", {"image": "nginx:1.27"})
    backend.objects.add(Kind.IMAGE, "pinned", {"from": {"registry": "nginx:1.27"}})
    error = said(backend, "image", "rm", "nginx:1.27", code=1)
    assert "is the image of container/web, image/pinned" in error
    assert "--force" in error
    assert NGINX in named(images)
    said(backend, "image", "rm", "--force", "nginx:1.27")
    assert NGINX not in named(images)


def test_a_name_that_a_manifest_gives_is_its_own(backend: FakeBackend, images: FakeImages) -> None:
    owned(images, backend, NGINX)
    for argv in (["pull", "nginx:1.27"], ["rm", "--force", "nginx:1.27"]):
        assert "nginx:1.27 is a name of image/site in namespace default" in said(backend, "image", *argv, code=1)
    said(backend, "image", "pull", "registry.local:5000/shop:1")
    error = said(backend, "image", "tag", "registry.local:5000/shop:1", "nginx:1.27", code=1)
    assert "is a name of image/site" in error
    assert images.pulls == 1
    images.names().delete(NGINX)
    digest = json.loads(said(backend, "image", "ls", "-o", "json"))[-1]["id"]
    assert "is the content of image/site" in said(backend, "image", "rm", "--force", digest[7:19], code=1)


def test_prune_frees_what_has_no_name_and_with_all_what_nobody_uses(backend: FakeBackend, images: FakeImages) -> None:
    said(backend, "image", "pull", "nginx:1.27", "registry.local:5000/shop:1")
    owned(images, backend, "docker.io/library/site:1")
    backend.objects.add(Kind.CONTAINER, "web", {"image": "nginx:1.27"})
    assert said(backend, "image", "prune") == "freed 0 B\n"
    lines = said(backend, "image", "prune", "-a").splitlines()
    assert lines[0] == "registry.local:5000/shop:1 removed"
    assert lines[1].startswith("freed ")
    assert [name for name in named(images) if not name.startswith("uid:")] == [NGINX, "docker.io/library/site:1"]


def test_while_images_are_imported_nothing_is_freed(backend: FakeBackend, images: FakeImages) -> None:
    said(backend, "image", "pull", "nginx:1.27")

    def busy(keep: object) -> int:
        raise Unavailable("images are being imported")

    images.prune = busy  # type: ignore[assignment]
    user = FakeSession("image", "rm", "nginx:1.27")
    assert run(backend, user) == 0
    assert "`lading image prune` frees it later" in user.errors
    assert json.loads(said(backend, "image", "prune", "-o", "json")) == {"names": [], "freed": None}


def test_df_counts_content(backend: FakeBackend, images: FakeImages) -> None:
    said(backend, "image", "pull", "nginx:1.27")
    found = json.loads(said(backend, "df", "-o", "json"))
    assert found["content"]["count"] == 4
    assert found["content"]["size"] == sum(blob.size for blob in images.content().walk())
    assert said(backend, "df").splitlines()[0].split() == ["WHAT", "COUNT", "SIZE"]


def test_a_name_that_has_moved_is_not_what_a_container_runs(backend: FakeBackend, images: FakeImages) -> None:
    said(backend, "image", "pull", "nginx:1.27")
    old = named(images)[NGINX]
    web = backend.objects.add(Kind.CONTAINER, "web", {"image": "nginx:1.27"})
    backend.objects.report(web, status(imageDigest=old.digest))
    assert "by now" not in said(backend, "describe", "web")
    images.names().put("uid:0123", old)  # what the image that is implied keeps
    images.publish(NGINX, layers=(b"base", b"newer"))
    said(backend, "image", "pull", "nginx:1.27")
    new = named(images)[NGINX]
    listed = {one["digest"]: one for one in json.loads(said(backend, "image", "ls", "-o", "json"))}
    assert [one["name"] for one in listed[old.digest]["usedBy"]] == ["web"]
    assert (listed[old.digest]["names"], listed[new.digest]["usedBy"]) == ([], [])
    told = said(backend, "describe", "web")
    assert f"content    {old.digest[:19]}\n" in told
    assert f"nginx:1.27 is {new.digest[:19]} by now: `lading delete`" in told
    said(backend, "image", "prune", "-a")
    assert NGINX in named(images), "a container asks for it"
