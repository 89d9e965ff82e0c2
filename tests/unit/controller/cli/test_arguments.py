import pytest

from controller.cli import arguments, words
from controller.cli.catalogue import GROUPS, LATER, VERBS
from controller.cli.dispatch import parse
from resources.errors import InvalidArgument


@pytest.mark.parametrize(
    "argv",
    [["-n", "shop", "get", "container"], ["get", "container", "--namespace=shop"], ["get", "-nshop", "container"]],
)
def test_flags_of_every_command_stand_before_and_after_the_verb(argv: list[str]) -> None:
    found = parse(argv)
    assert (found.verb, found.words, found.text("namespace")) == ("get", ("container",), "shop")


def test_short_flags_cluster_and_a_value_may_be_glued_on() -> None:
    found = parse(["exec", "-it", "-eA=b", "-e", "C=d", "web", "sh"])
    assert found.on("interactive")
    assert found.on("tty")
    assert found.many("env") == ["A=b", "C=d"]
    assert found.words == ("web", "sh")


@pytest.mark.parametrize("between", [[], ["--"]])
def test_the_flags_of_an_execs_command_are_its_own(between: list[str]) -> None:
    assert parse(["exec", "web", *between, "ls", "-l", "--namespace"]).words == ("web", "ls", "-l", "--namespace")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["aply"], "did you mean apply?"),
        (["ps"], "see `lading get container`"),
        (["get", "--wacth", "container"], "did you mean --watch?"),
        (["get", "-z", "container"], "no flag -z"),
        (["get"], "too few words; usage: lading get KIND [NAME]"),
        (["version", "now"], "what is 'now' for?"),
        (["get", "container", "-o"], "needs a value"),
        (["get", "container", "-o", "xml"], "one of table, wide, json"),
        (["apply", "--prune=yes"], "takes no value"),
        (["plan", "--exit-code=never"], "one of drift"),
        (["get", "container", "-n", "a", "-n", "b"], "twice"),
        (["volume", "ls"], "`lading volume` comes in a later version"),
        (["image", "push", "shop:1"], "`lading image push` comes in a later version"),
        (["image", "lss"], "did you mean image ls?"),
        (["image", "xyzzy"], "there is no command 'image xyzzy' (see `lading image --help`)"),
        (["xyzzy"], "there is no command 'xyzzy' (see `lading --help`)"),
        (["pull", "nginx"], "see `lading image pull`"),
        (["network"], "takes one of ls, inspect, connect, disconnect, prune"),
        (["image", "tag", "a"], "usage: lading image tag REF NEW"),
    ],
)
def test_what_is_wrong_is_said(argv: list[str], said: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        parse(argv)
    assert said in str(error.value)


def test_a_verb_below_another_has_flags_of_its_own() -> None:
    found = parse(["-n", "shop", "image", "ls", "-a", "-o", "json"])
    assert (found.verb, found.on("all"), found.text("output"), found.words) == ("image ls", True, "json", ())
    assert parse(["image", "--help"]).verb == "image"


def test_an_optional_value_needs_its_equals_sign() -> None:
    assert parse(["plan", "--exit-code"]).text("exit-code") == ""
    assert parse(["plan", "--exit-code=drift"]).text("exit-code") == "drift"


def test_no_verb_has_two_flags_of_one_name_or_letter() -> None:
    for verb in VERBS.values():
        flags = [*verb.flags, *arguments.GLOBALS]
        names = [flag.name for flag in flags]
        letters = [flag.short for flag in flags if flag.short]
        assert len(set(names)) == len(names), verb.name
        assert len(set(letters)) == len(letters), verb.name


def test_help_names_every_verb_and_every_flag() -> None:
    text = arguments.overview(GROUPS)
    for verb in VERBS.values():
        group = VERBS.get(verb.name.rpartition(" ")[0])
        assert f"\n  {verb.name} " in (arguments.explanation(group) if group else text)
        explained = arguments.explanation(verb)
        for flag in (*verb.flags, *arguments.GLOBALS):
            assert (f"--{flag.name}" in explained) == (not flag.later)
    assert not set(LATER) & set(VERBS)


@pytest.mark.parametrize(
    ("argv", "verb", "policy", "run_root"),
    [
        (["apply", "-f", "x"], "apply", words.ENGINE, "/run/lading"),
        (["--run-root", "/r", "-n", "apply", "get", "c"], "get", words.ENGINE, "/r"),
        (["apply", "--once", "--run-root=/r"], "apply", words.HERE, "/r"),
        (["version"], "version", words.ASK_OR_HERE, "/run/lading"),
        (["version", "--client"], "version", words.HERE, "/run/lading"),
        (["apply", "--help"], "apply", words.ASK_OR_HERE, "/run/lading"),
        (["serve"], "serve", words.HERE, "/run/lading"),
        ([], "", words.ASK_OR_HERE, "/run/lading"),
        (["exec", "-e", "A=b", "web", "ls", "--run-root", "/r", "--help"], "exec", words.ENGINE, "/run/lading"),
        (["exec", "web", "--run-root", "/r", "--", "ls", "--once"], "exec", words.ENGINE, "/r"),
    ],
)
def test_the_client_finds_verb_and_roots(argv: list[str], verb: str, policy: str, run_root: str) -> None:
    line = words.scan(argv)
    assert (line.verb, line.policy, line.run_root) == (verb, policy, run_root)
