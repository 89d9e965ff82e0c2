import re

import pytest

from controller.cli import words
from controller.cli.commandline.declarations import GLOBALS
from controller.cli.commandline.elsewhere import ELSEWHERE, FLAGS, KINDS, WORDS
from controller.cli.commandline.help import explanation, overview
from controller.cli.server.dispatch import parse
from controller.cli.verbs.catalogue import GROUPS, LATER, VERBS
from resources.errors import InvalidArgument
from tests.unit.controller.cli.fakes import FakeSession, run


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
        (["ps"], "there is no command 'ps' (`lading get container` lists containers"),
        (["get", "--wacth", "container"], "did you mean --watch?"),
        (["get", "-z", "container"], "no flag -z"),
        (["get"], "too few words; usage: lading get KIND [NAME]"),
        (["version", "now"], "what is 'now' for?"),
        (["get", "container", "-o"], "needs a value"),
        (["get", "container", "-o", "xml"], "one of table, wide, json"),
        (["apply", "--prune=yes"], "takes no value"),
        (["plan", "--exit-code=never"], "one of drift"),
        (["get", "container", "-n", "a", "-n", "b"], "twice"),
        (["volume", "ls"], "`lading volume` comes in a later version (`lading get volume` lists volumes"),
        (["image", "push", "shop:1"], "`lading image push` comes in a later version (lading pushes nothing yet"),
        (["why", "web"], "`lading why` comes in a later version"),
        (["network", "create", "-d", "bridge", "x"], "'network create' (write `kind: Network` in a manifest"),
        (["run", "-d", "-p", "8080:80", "nginx"], "there is no command 'run' (write a Container as a manifest"),
        (["image", "lss"], "did you mean image ls?"),
        (["image", "xyzzy"], "there is no command 'image xyzzy' (see `lading image --help`)"),
        (["xyzzy"], "there is no command 'xyzzy' (see `lading --help`)"),
        (["pull", "nginx"], "there is no command 'pull' (see `lading image pull REF`)"),
        (["network"], "takes one of ls, inspect, connect, disconnect, prune"),
        (["image", "tag", "a"], "usage: lading image tag REF NEW"),
    ],
)
def test_what_is_wrong_is_said(argv: list[str], said: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        parse(argv)
    assert said in str(error.value)


FOREIGN = re.findall(
    r"\S+",
    """
    attach build builder buildx commit compose config container context convert cp create diff down edit events
    exec explain export history image images import info inspect kill label load login logout logs ls network node
    patch pause pod port port-forward prune ps pull push rename replace restart rm rmi rollout run save scale
    search secret service set stack start stats status stop swarm system tag top unpause up update version volume
    wait
    """,
)


@pytest.mark.parametrize("word", FOREIGN)
def test_words_of_other_tools_are_commands_or_lead_to_one(word: str) -> None:
    assert (word in VERBS) != (word in ELSEWHERE)


@pytest.mark.parametrize("word", ELSEWHERE)
def test_a_pointer_leads_to_commands_that_are_there(word: str) -> None:
    text = ELSEWHERE[word]
    assert word not in VERBS
    assert "\n" not in text
    for command in re.findall(r"`lading ([^`]*)`", text):
        found = parse(command.split())
        asked = " ".join(found.words) if found.verb == "help" else found.verb
        assert asked in VERBS
    for flag, verb in (("-o wide", "get"), ("--data", "delete"), ("--owner", "apply")):
        assert flag not in text or parse([verb, "NAME", *flag.split(), *(["X"] if flag == "--owner" else [])])


@pytest.mark.parametrize("text", sorted({*FLAGS.values(), *KINDS.values(), *WORDS.values()}))
def test_a_pointer_of_flags_and_kinds_leads_to_commands_too(text: str) -> None:
    commands = re.findall(r"`lading ([^`]*)`", text)
    assert all(parse(command.split()).verb in VERBS for command in commands)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["stop", "-t", "1", "web"], "`stop: {timeout: 5s}` in the manifest"),
        (["kill", "-9", "web"], "`lading kill -s KILL NAME`"),
        (["stats", "--no-stream"], "looks for one second"),
        (["events", "--tail", "5"], "`lading events --since 10m`"),
        (["image", "ls", "nginx"], "`lading image inspect REF` tells of one"),
        (["logs", "-n", "shop", "-n", "5", "web"], "`--tail N` says how many lines"),
        *((([word]), "there is no command") for word in ("annotate", "ns", "init", "expose")),
    ],
)
def test_flags_of_other_tools_are_pointed_at_what_is_meant(argv: list[str], said: str) -> None:
    user = FakeSession(*argv)
    assert run(None, user) == 2
    assert said in user.errors
    assert "--help`)" not in user.errors


@pytest.mark.parametrize("argv", [["ps", "-a"], ["network", "rm", "x"], ["volume", "create"], ["xyzzy"]])
def test_an_unknown_command_ends_with_2_and_one_line(argv: list[str]) -> None:
    user = FakeSession(*argv)
    assert run(None, user) == 2
    assert user.errors.count("\n") == 1
    assert user.text == ""


def test_a_verb_below_another_has_flags_of_its_own() -> None:
    found = parse(["-n", "shop", "image", "ls", "-a", "-o", "json"])
    assert (found.verb, found.on("all"), found.text("output"), found.words) == ("image ls", True, "json", ())
    assert parse(["image", "--help"]).verb == "image"


def test_an_optional_value_needs_its_equals_sign() -> None:
    assert parse(["plan", "-f", "x", "--exit-code"]).text("exit-code") == ""
    assert parse(["plan", "-f", "x", "--exit-code=drift"]).text("exit-code") == "drift"


def test_no_verb_has_two_flags_of_one_name_or_letter() -> None:
    for verb in VERBS.values():
        flags = [*verb.flags, *GLOBALS]
        names = [flag.name for flag in flags]
        letters = [flag.short for flag in flags if flag.short]
        assert len(set(names)) == len(names), verb.name
        assert len(set(letters)) == len(letters), verb.name


def test_help_names_every_verb_and_every_flag() -> None:
    text = overview(GROUPS)
    for verb in VERBS.values():
        group = VERBS.get(verb.name.rpartition(" ")[0])
        assert f"\n  {verb.name} " in (explanation(group) if group else text)
        explained = explanation(verb)
        for flag in (*verb.flags, *GLOBALS):
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
        (["compose", "--run-root", "/r", "up"], "compose", words.ASK_OR_HERE, "/r"),
        (["exec", "-e", "A=b", "web", "ls", "--run-root", "/r", "--help"], "exec", words.ENGINE, "/run/lading"),
        (["exec", "web", "--run-root", "/r", "--", "ls", "--once"], "exec", words.ENGINE, "/r"),
    ],
)
def test_the_client_finds_verb_and_roots(argv: list[str], verb: str, policy: str, run_root: str) -> None:
    line = words.scan(argv)
    assert (line.verb, line.policy, line.run_root) == (verb, policy, run_root)


def test_the_client_knows_which_commands_need_an_engine() -> None:
    without = {"validate", "help", "version", "schema", "completion", "serve", "doctor"}
    for name in VERBS:
        assert (words.scan(name.split()).policy == words.ENGINE) == (name not in without), name
