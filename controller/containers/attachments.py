"""connect and disconnect as changes of one container's desired state, whoever asks for them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from controller.diff.lists import NETWORKS
from controller.interface import Backend
from manifests.decode import in_words
from resources import paths
from resources.container import ContainerSpec
from resources.errors import FailedPrecondition, InvalidArgument, NotFound
from resources.kinds import Kind
from resources.meta import Ref
from resources.object import Object

IMPLIED = ("bridge",)
"""Networks that need not be declared."""
_ALONE = ("host", "none")
_UNSAID = ContainerSpec.model_fields["networks"].default
Attachment = Mapping[str, Any]
"""As a manifest writes it."""


def connect(
    backend: Backend, container: Ref, network: str, aliases: Sequence[str], ipv4: str, ipv6: str, *, manager: str
) -> Object:
    """One that is on it already gets these aliases and addresses instead of its own. Raises: NotFound,
    FailedPrecondition, InvalidArgument."""
    _check(backend, container, network)
    given = {"aliases": list(aliases), "ipv4": ipv4, "ipv6": ipv6}
    said = {name: value for name, value in given.items() if value}

    def changed(networks: Sequence[Attachment]) -> list[Attachment]:
        known = any(one.get("name") == network for one in networks)
        added: Sequence[Attachment] = () if known else ({"name": network},)
        return [{**one, **said} if one.get("name") == network else one for one in (*networks, *added)]

    return backend.edit(container, _edit(container, changed), manager=manager, reason="Connected")


def disconnect(backend: Backend, container: Ref, network: str, *, manager: str) -> Object:
    """Raises: NotFound, also when it is not on it; FailedPrecondition."""

    def changed(networks: Sequence[Attachment]) -> list[Attachment]:
        left = [one for one in networks if one.get("name") != network]
        if len(left) == len(networks):
            on = ", ".join(one["name"] for one in networks) or "none"
            raise NotFound(f"{container} is not on the network {network}", hint=f"it is on {on}")
        return left

    return backend.edit(container, _edit(container, changed), manager=manager, reason="Disconnected")


def _check(backend: Backend, container: Ref, network: str) -> None:
    if network in _ALONE:
        raise InvalidArgument(f"{network} is no network to be connected to beside others", hint="its manifest says it")
    ref = Ref(kind=Kind.NETWORK, namespace=container.namespace, name=network)
    found = backend.objects.find(ref)
    if found is None and network not in IMPLIED:
        raise NotFound(f"there is no {ref} in namespace {ref.namespace}", hint="see `lading network ls`")
    if found is not None and found.deleting:
        raise FailedPrecondition(f"{ref} is being deleted")


def _edit(container: Ref, change: Callable[[Sequence[Attachment]], list[Attachment]]) -> Callable[[Object], Object]:
    def edited(item: Object) -> Object:
        spec, effective = item.spec.written(), item.effective.full()
        alone = next((one for one in item.effective.networks if one.special), None)
        if alone is not None:
            what = f"the network {alone.name}" if alone.name else f"the sandbox of container/{alone.container}"
            raise FailedPrecondition(
                f"{container} has no networks of its own: it is on {what}", hint="its manifest can say otherwise"
            )
        networks = change(_written(item))
        made = {"effective": _with(effective, networks), "spec": _with(spec, networks)}
        if made["effective"].networks == _UNSAID and not _said(item):
            spec.pop("networks", None)
            made["spec"] = ContainerSpec.parse(spec)
        return item.model_copy(update=made)

    return edited


def _written(item: Object) -> Sequence[Attachment]:
    """Without the defaults of what its manifest does not say, so that who leaves again is as it was written."""
    if "networks" in item.spec.model_fields_set:
        return [one.written() for one in item.spec.networks]
    return [one.model_dump(mode="json", exclude_defaults=True) for one in item.effective.networks]


def _said(item: Object) -> bool:
    """Whether a manifest says its networks."""
    return any(NETWORKS in manager.fields for manager in item.metadata.field_managers)


def _with(spec: Mapping[str, Any], networks: list[Attachment]) -> ContainerSpec:
    """As if a manifest had said it."""
    try:
        return ContainerSpec.parse({**spec, "networks": networks})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = paths.joined(first["loc"])
        raise InvalidArgument(f"{where}: {in_words(first)}" if where else in_words(first)) from error
