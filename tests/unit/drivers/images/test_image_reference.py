import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.images.reference import Reference, normalize, parse
from resources.errors import InvalidArgument

SHA = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("library/nginx", "docker.io/library/nginx:latest"),
        ("bitnami/redis:7", "docker.io/bitnami/redis:7"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("quay.io/a/b/c:v1", "quay.io/a/b/c:v1"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ("host:80", "docker.io/library/host:80"),
        ("a__b/c-d--e.f:T_1", "docker.io/a__b/c-d--e.f:T_1"),
        (f"nginx@{SHA}", f"docker.io/library/nginx@{SHA}"),
        (f"nginx:1@{SHA}", f"docker.io/library/nginx:1@{SHA}"),
        ("Registry/x", "Registry/x:latest"),
    ],
)
def test_normalised_as_docker_does(text: str, whole: str) -> None:
    assert normalize(text) == whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Nginx",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        "a:",
        "a:b:c",
        "x" * 600,
        "a@sha256:00",
        f"a@{SHA.upper()}",
        "é",
        "a b",
        "h:99999/x",
        "h:0/x",
        "a\n",
        "a:t\n",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "http://x/y",
        "../../x",
        "a:../x",
        "a\0b",
        "h:1:2/x",
        f"a@{SHA}\n",
        "-.io/x",
        "a:" + "t" * 129,
        "b" * 256,
    ],
)
def test_malformed_ones_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        normalize(text)


@pytest.mark.parametrize("scheme", ["https://", "http://", "docker://", "OCI://"])
def test_a_scheme_is_told_to_be_left_out(scheme: str) -> None:
    with pytest.raises(InvalidArgument, match=f"begins with a scheme \\(leave {scheme} out\\)"):
        normalize(f"{scheme}registry.example/x:1")


@given(st.text(max_size=80) | st.from_regex(r"[a-zA-Z0-9:/@._\[\]-]{1,60}", fullmatch=True))
def test_normalising_is_idempotent_and_yields_nothing_odd(text: str) -> None:
    try:
        whole = normalize(text)
    except InvalidArgument:
        return
    assert normalize(whole) == whole
    assert parse(whole) == parse(text)
    assert ".." not in whole.split("/")
    assert whole.isascii()
    assert whole.isprintable()
    assert " " not in whole


@given(
    st.from_regex(r"[a-z]{1,9}\.[a-z]{2,3}(:[1-9][0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"[a-z0-9]{1,9}(/[a-z0-9]{1,9}){1,3}", fullmatch=True),
    st.from_regex(r"[a-zA-Z0-9_]{1,20}", fullmatch=True),
)
def test_parts_come_back(domain: str, path: str, tag: str) -> None:
    assert parse(f"{domain}/{path}:{tag}") == Reference(domain, path, tag)
