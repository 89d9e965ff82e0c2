"""What a manifest overrides of an image's config, and which image of an archive it means."""

import pytest

from drivers.images.interface import Descriptor, Image, ImageConfig
from reconcilers.image.choice import chosen
from reconcilers.image.overrides import overridden
from resources.errors import InvalidArgument
from resources.image import ConfigOverrides

OWN = ImageConfig(
    entrypoint=("/entry",),
    command=("serve",),
    env={"PATH": "/bin", "MODE": "dev"},
    user="app",
    working_dir="/srv",
    stop_signal="SIGQUIT",
    exposed_ports=("80/tcp",),
    volumes=("/data",),
    labels={"a": "b"},
)


def test_nothing_overridden_is_the_images_own() -> None:
    assert overridden(OWN, ConfigOverrides()) == OWN


@pytest.mark.parametrize(
    ("written", "field", "value"),
    [
        ({"entrypoint": []}, "entrypoint", ()),
        ({"entrypoint": ["/other", "-x"]}, "entrypoint", ("/other", "-x")),
        ({"command": []}, "command", ()),
        ({"env": {"MODE": "prod", "NEW": "1"}}, "env", {"PATH": "/bin", "MODE": "prod", "NEW": "1"}),
        ({"user": "0"}, "user", "0"),
        ({"workingDir": "/x"}, "working_dir", "/x"),
        ({"stopSignal": "SIGINT"}, "stop_signal", "SIGINT"),
        ({"exposedPorts": ["8080", "53/udp", "53"]}, "exposed_ports", ("53/tcp", "53/udp", "8080/tcp")),
        ({"exposedPorts": []}, "exposed_ports", ()),
    ],
)
def test_one_field_is_overridden_and_no_other(written: dict[str, object], field: str, value: object) -> None:
    found = overridden(OWN, ConfigOverrides.parse(written))
    assert getattr(found, field) == value
    others = [name for name in OWN.__dataclass_fields__ if name != field]
    assert [getattr(found, name) for name in others] == [getattr(OWN, name) for name in others]


def image(*names: str) -> Image:
    digest = "sha256:" + "0" * 64
    return Image(digest, Descriptor("m", digest, 1), ImageConfig(), (), (), "", "linux/amd64", names_in=names)


def test_the_only_image_is_meant_whatever_it_is_called() -> None:
    only = image("shop/web:1")
    assert chosen([only], ()) == (only, False)
    assert chosen([only], ("docker.io/library/other:1",)) == (only, False)


def test_of_several_the_one_named_in_tags() -> None:
    web, db = image("web:1"), image("docker.io/library/db:1", "db:latest")
    assert chosen([web, db], ("docker.io/library/db:latest",)) == (db, True)
    with pytest.raises(InvalidArgument, match=r"docker\.io/library/db:1, docker\.io/library/db:latest, docker"):
        chosen([web, db], ())


def test_hostile_names_are_neither_matched_nor_shown() -> None:
    with pytest.raises(InvalidArgument, match="they have no names"):
        chosen([image("\x1b[2J"), image("UPPER CASE")], ())
    many = [image(f"a{number}:1") for number in range(1000)]
    with pytest.raises(InvalidArgument) as error:
        chosen(many, ())
    assert len(str(error.value)) < 1000
