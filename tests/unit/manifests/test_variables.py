"""Variables in manifests."""

import pytest

from manifests.interface import Options, Text
from manifests.load import load

CONFIG = "apiVersion: lading/v1\nkind: Config\nmetadata: {name: c}\nspec:\n  data:\n    a: "
VOLUME = "apiVersion: lading/v1\nkind: Volume\nmetadata: {name: c}\nspec:\n  owner:\n    uid: "


def filled(text: str, **variables: str) -> str:
    loaded = load([Text("m.yaml", (CONFIG + text).encode())], Options(variables=variables))
    assert loaded.problems == (), [str(problem) for problem in loaded.problems]
    found = loaded.manifests[0].manifest.spec.data["a"]
    assert isinstance(found, str)
    return found


def problem(text: str, **variables: str) -> str:
    loaded = load([Text("m.yaml", (CONFIG + text).encode())], Options(variables=variables))
    assert len(loaded.problems) == 1, [str(problem) for problem in loaded.problems]
    return str(loaded.problems[0])


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("${V}", {"V": "x"}, "x"),
        ("a${V}b${V}", {"V": "x"}, "axbx"),
        ("${V:-dflt}", {}, "dflt"),
        ("${V:-}", {}, ""),
        ("${V:-dflt}", {"V": ""}, "dflt"),
        ("${V:?must be given}", {"V": "x"}, "x"),
        ("$${V}", {}, "${V}"),
        ("$$$$", {}, "$$"),
        ("$V and $1", {"V": "x"}, "$V and $1"),
        ("'${V}'", {"V": "no: [yaml] &here"}, "no: [yaml] &here"),
        ("${V}", {"V": "${W}"}, "${W}"),
        ("${V}", {"V": "007"}, "007"),
    ],
)
def test_filled_in(text: str, variables: dict[str, str], expected: str) -> None:
    assert filled(text, **variables) == expected


def test_an_unquoted_number_is_a_number() -> None:
    loaded = load([Text("m.yaml", (VOLUME + "${U}").encode())], Options(variables={"U": "999"}))
    assert loaded.problems == ()
    assert loaded.manifests[0].manifest.spec.owner.uid == 999


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        (
            "${V}",
            {},
            "m.yaml:6:8: spec.data.a: the variable V is not set; give it with --var V=… or write ${V:-default}",
        ),
        ("${V:?say which}", {"V": ""}, "m.yaml:6:8: spec.data.a: the variable V is not set: say which"),
        ("${V-x}", {}, "is not one of ${VAR}, ${VAR:-default} and ${VAR:?message}"),
        ("'${V'", {"V": "x"}, "is not one of ${VAR}"),
        ("${V}", {"V": "a\0b"}, "the variable V holds what cannot stand in a manifest"),
    ],
)
def test_what_cannot_be_filled_in(text: str, variables: dict[str, str], expected: str) -> None:
    assert expected in problem(text, **variables)


def test_an_unset_variable_is_told_once() -> None:
    loaded = load([Text("m.yaml", (VOLUME + "${U}").encode())])
    assert [str(one) for one in loaded.problems] == [
        "m.yaml:6:10: spec.owner.uid: the variable U is not set; give it with --var U=… or write ${U:-default}"
    ]


def test_not_in_keys() -> None:
    assert "variables are not filled in in keys" in problem("x\n    ${V}: y", V="b")


def test_expansion_is_bounded() -> None:
    loaded = load([Text("m.yaml", (CONFIG + "${V}" * 20).encode())], Options(variables={"V": "x" * 1_000_000}))
    assert "variables add more than" in str(loaded.problems[0])
