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
