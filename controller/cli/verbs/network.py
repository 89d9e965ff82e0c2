"""network ls, inspect, connect, disconnect, prune: who is on which network."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from controller.cli.commandline.call import Call
from controller.cli.commandline.declarations import MANY, Flag, Verb
from controller.cli.progress import waiting
from controller.cli.text.table import table
from controller.cli.verbs.apply import WAIT
from controller.cli.verbs.host_links import HostLinks
from controller.cli.verbs.lifecycle import MANAGER
from controller.containers import attachments
from controller.views import addresses, as_json, endpoints, subnets
from manifests.decode import in_words
from resources.container_parts import NetworkAttachment
from resources.errors import InvalidArgument
from resources.kinds import Kind
from resources.meta import Ref, Status
from resources.object import Object

_FORMS = ("table", "wide", "json", "name")
_FLAGS = {"aliases": "--alias", "ipv4": "--ip", "ipv6": "--ip6"}


def ls(call: Call) -> int:
    everywhere = call.arguments.on("all-namespaces")
    found = call.backend.objects.list(Kind.NETWORK, None if everywhere else call.namespace)
    form = call.arguments.text("output", "table")
    if form == "json":
        _print_json(call, found)
    elif form == "name":
        for item in found:
            call.line(item.metadata.name)
    elif not found:
        call.note("no networks" if everywhere else f"no networks in namespace {call.namespace}")
    else:
        call.session.out(_table(call, found, wide=form == "wide", everywhere=everywhere))
    return 0


def _table(call: Call, found: Sequence[Object], *, wide: bool, everywhere: bool) -> str:
    rows, links = [], HostLinks(call.backend)
    for item in found:
        status = call.backend.objects.status(item.key) or Status()
        names = [
            f"{one['name']} ({', '.join(one['addresses'])})" if wide and one["addresses"] else one["name"]
            for one in members(call, item, links)
        ]
        namespace = [item.metadata.namespace] if everywhere else []
        state = "Deleting" if item.deleting else status.phase
        has, internal = ", ".join(subnets(item, status)), "yes" if item.effective.internal else "no"
        link = [links.of_network(item, status)] if wide else []
        driver = item.effective.driver
        rows.append([*namespace, item.metadata.name, driver, has, internal, state, *link, ", ".join(names)])
    headings = ["NAME", "DRIVER", "SUBNETS", "INTERNAL", "STATE", *(["LINK"] if wide else []), "CONTAINERS"]
    headings = [*(["NAMESPACE"] if everywhere else []), *headings]
    return table(headings, rows, columns=call.session.columns if call.session.stdout_tty and not wide else 0)


def inspect(call: Call) -> int:
    items = [call.found(_network(call, word)) for word in call.arguments.words]
    _print_json(call, items)
    return 0


def _print_json(call: Call, items: Sequence[Object]) -> None:
    links = HostLinks(call.backend)
    call.session.out(json.dumps([_shown(call, item, links) for item in items], indent=2) + "\n")


def _shown(call: Call, item: Object, links: HostLinks) -> Mapping[str, Any]:
    """The object as `get` shows it, its link, and who is on it."""
    status = call.backend.objects.status(item.key)
    link = links.of_network(item, status or Status())
    return {
        **as_json(item, status),
        **({"link": link} if link else {}),
        "subnets": list(subnets(item, status or Status())),
        "containers": list(members(call, item, links)),
    }


def members(call: Call, network: Object, links: HostLinks) -> Iterator[Mapping[str, Any]]:
    """The containers that name it, each with its addresses, names and links there."""
    name = network.metadata.name
    for item, attachment in _attached(call, network):
        status = call.backend.objects.status(item.key) or Status()
        link = links.of_endpoint(item, status, name)
        yield {
            "name": item.metadata.name,
            "addresses": list(addresses(status, name)),
            "aliases": list(attachment.aliases),
            **{key: value for key, value in endpoints(status).get(name, {}).items() if key != "addresses"},
            **({"hostLink": link} if link else {}),
        }


def _attached(call: Call, network: Object) -> Iterator[tuple[Object, NetworkAttachment]]:
    for item in call.backend.objects.list(Kind.CONTAINER, network.metadata.namespace):
        for attachment in item.effective.networks:
            if attachment.name == network.metadata.name:
                yield item, attachment


def connect(call: Call) -> int:
    network, container = _pair(call)
    aliases, ipv4, ipv6 = call.arguments.many("alias"), call.arguments.text("ip"), call.arguments.text("ip6")
    _check_flags(aliases, ipv4, ipv6)
    item = attachments.connect(call.backend, container, network, aliases, ipv4, ipv6, manager=MANAGER)
    return _wait(call, item)


def _check_flags(aliases: Sequence[str], ipv4: str, ipv6: str) -> None:
    """What a manifest could not say either is told of the flag, not of the list that it would be edited into."""
    said: Mapping[str, Any] = {"aliases": aliases, "ipv4": ipv4 or None, "ipv6": ipv6 or None}
    try:
        NetworkAttachment.parse({"name": "any", **said})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name, *index = first["loc"]
        value = said[str(name)][index[0]] if index else said[str(name)]
        raise InvalidArgument(f"{_FLAGS[str(name)]} {value[:60]!r}: {in_words(first)}") from error


def disconnect(call: Call) -> int:
    network, container = _pair(call)
    return _wait(call, attachments.disconnect(call.backend, container, network, manager=MANAGER))


def _pair(call: Call) -> tuple[str, Ref]:
    network, container = call.arguments.words
    ref = call.container(container)
    call.found(ref)
    return _network(call, network).name, ref


def _wait(call: Call, *items: Object, judge: waiting.Judge = waiting.until_settled) -> int:
    if call.arguments.on("no-wait"):
        return 0
    return waiting.wait(call, [(item.key, item.ref) for item in items], judge)


def prune(call: Call) -> int:
    """Deletes objects, as `delete` does: those nobody names. What is implied goes by itself."""
    listed = call.backend.objects.list(Kind.NETWORK, call.namespace)
    declared = [item for item in listed if not item.deleting and not item.metadata.implied]
    unused = [item for item in declared if next(_attached(call, item), None) is None]
    if not unused:
        where = f"in namespace {call.namespace}"
        call.line(
            f"every network {where} has somebody on it" if declared else f"there are no networks to prune {where}"
        )
        return 0
    if not call.arguments.on("force"):
        names = ", ".join(str(item.ref) for item in unused)
        if not call.session.stdin_tty:
            raise InvalidArgument(f"would delete {names}", hint="-f does it without asking")
        if call.session.ask(f"delete {names}? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
    call.backend.delete([item.ref for item in unused], data=False, cascade=False, force=False)
    return _wait(call, *unused, judge=waiting.until_gone)


def _network(call: Call, word: str) -> Ref:
    """`NAME`, or `network/NAME`."""
    ref = call.ref(word if "/" in word else f"network/{word}")
    if ref.kind is not Kind.NETWORK:
        raise InvalidArgument(f"{ref} is not a network")
    return ref


VERBS = (
    Verb(
        "network ls",
        "",
        "list networks, with who is on them",
        ls,
        (
            Flag("output", "how to print", short="o", value="FORM", choices=_FORMS),
            Flag("all-namespaces", "of every namespace", short="A"),
        ),
    ),
    Verb("network inspect", "NAME …", "all there is to know, as JSON", inspect, (), (1, MANY)),
    Verb(
        "network connect",
        "NETWORK CONTAINER",
        "put a container on one more network, without a restart",
        connect,
        (
            Flag("alias", "one more name of it there", value="NAME", repeat=True),
            Flag("ip", "this IPv4 address, instead of a free one", value="ADDRESS"),
            Flag("ip6", "this IPv6 address", value="ADDRESS"),
            *WAIT,
        ),
        (2, 2),
        text="Holds until a manifest of the container is applied: that one's word counts again.",
    ),
    Verb(
        "network disconnect",
        "NETWORK CONTAINER",
        "take a container off a network, without a restart",
        disconnect,
        WAIT,
        (2, 2),
        text="Holds until a manifest of the container is applied: that one's word counts again.",
    ),
    Verb(
        "network prune",
        "",
        "delete the networks of the namespace that no container names",
        prune,
        (Flag("force", "do not ask", short="f"), *WAIT),
    ),
)
