import pytest

from tests.unit.controller.cli.fakes import run
from tests.unit.controller.cli.shop import SECRET, SITE, WEB, session


def test_validate_needs_no_engine_and_warns_of_what_only_a_store_knows() -> None:
    user = session("validate", "-f", "shop/web.yaml")
    assert run(None, user) == 0
    assert user.text == "1 manifest is valid\n"
    assert "warning: spec.image.name: there is no image/site in this input" in user.errors
    user = session("validate", "-f", "-", **{"-": WEB + b"---\n" + SECRET + b"extra: 1\n"})
    assert run(None, user) == 1
    assert "-:10:1: extra" in user.errors


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WEB.replace(b"command:", b"dependsOn: [web], command:"), "error container/web needs container/web (-:4:"),
        (
            b"---\n".join(
                WEB.replace(b"name: web", b"name: " + own).replace(
                    b"command:", b"dependsOn: [" + other + b"], command:"
                )
                for own, other in ((b"a", b"b"), (b"b", b"a"))
            ),
            "error container/a needs container/b (-:4:",
        ),
        (SITE, "warning: spec.from.archive: site.tar: no such file or directory"),
        (SECRET, "warning: spec.files.key: key.pem: no such file"),
        (
            WEB.replace(b"command:", b"envFile: [./web.env], command:"),
            "warning: spec.envFile[0]: web.env: no such file",
        ),
        (b"# nothing\n", "error lading: there are no manifests in -"),
    ],
)
def test_validate_tells_what_the_input_shows_by_itself(text: bytes, said: str) -> None:
    user = session("validate", "-f", "-", **{"-": text})
    assert run(None, user) == said.startswith("error ")
    assert said.removeprefix("error ") in user.errors


@pytest.mark.parametrize("tag", [b"nginx", b"other"])
def test_validate_is_content_with_files_that_are_there_and_an_image_that_would_be_pulled(tag: bytes) -> None:
    site = SITE.replace(b"{from:", b"{tags: [" + tag + b"], from:")
    web = WEB.replace(b"{name: site}", b"nginx")
    user = session("validate", "-f", "-", **{"-": site + b"---\n" + web, "site.tar": b"x"})
    assert (run(None, user), user.errors) == (0, "")


NETWORKS = b"""apiVersion: lading/v1
kind: Network
metadata: {name: one}
spec: {subnets: [10.1.0.0/16], internal: true}
---
apiVersion: lading/v1
kind: Network
metadata: {name: two}
spec:
  subnets:
  - 10.2.0.0/24
  - 10.1.7.0/24
---
apiVersion: lading/v1
kind: Container
metadata: {name: a}
spec: {image: x, ports: ["80:80"], networks: [{name: one, ipv4: 10.1.0.5}]}
---
apiVersion: lading/v1
kind: Container
metadata: {name: b}
spec: {image: x, ports: ["80:80"], networks: [{name: one, ipv4: 10.1.0.5}, {name: two, ipv4: 10.2.0.1}]}
---
apiVersion: lading/v1
kind: Container
metadata: {name: c}
spec: {image: x, networks: [{name: elsewhere, ipv4: 10.3.0.5}], ports: ["127.0.0.1:81:81", "192.0.2.7:82:82"]}
---
apiVersion: lading/v1
kind: Container
metadata: {name: d}
spec: {image: x, networks: [{name: elsewhere, ipv4: 10.3.0.5}]}
"""


def test_validate_tells_what_does_not_fit_together_in_the_input() -> None:
    user = session("validate", "-f", "-", **{"-": NETWORKS})
    assert run(None, user) == 1
    told = [line for line in user.errors.splitlines() if "warning" not in line]
    assert told == [
        "-:12:5: spec.subnets[1]: overlaps 10.1.0.0/16 of network/one (-:4:18)",
        "-:17:18: spec.ports: all its networks are internal: nothing on them is reached from outside",
        "-:22:26: spec.ports[0]: the host's port 80/tcp belongs to container/a already (-:17:26)",
        "-:22:65: spec.networks[0].ipv4: 10.1.0.5 is container/a's (-:17:65)",
        "-:22:94: spec.networks[1].ipv4: 10.2.0.1 is the gateway of network/two, which says no other one",
        "-:32:53: spec.networks[0].ipv4: 10.3.0.5 is container/c's (-:27:53)",
    ]
