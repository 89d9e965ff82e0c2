"""GET: lists, one object, changes and events as they come. None of it changes anything."""

from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web

from controller.api.native import shapes
from controller.api.native.calls import Calls
from controller.api.native.requests import flag, number
from controller.store.interface import Objects
from controller.views import as_json
from resources.errors import NotFound
from resources.kinds import Kind
from resources.meta import Key, Ref
from resources.object import Object
from resources.version import VERSION


class Reading:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._backend = calls.backend

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self.health),
            web.get("/version", self.version),
            web.get("/kinds", self.kinds),
            web.get("/events", self.events),
            web.get("/{plural}", self.list),
            web.get("/{plural}/{namespace}/{name}", self.one),
        ]

    async def health(self, _: web.Request) -> web.StreamResponse:
        revision = await self._calls.call(self._backend.objects.revision)
        return web.json_response({"status": "ok", "resourceVersion": revision})

    async def version(self, _: web.Request) -> web.StreamResponse:
        host = await self._calls.call(self._backend.describe_host)
        return web.json_response({"version": VERSION, "api": "lading/v1", "host": dict(host)}, dumps=shapes.dumps)

    async def kinds(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"kinds": shapes.kinds()})

    async def one(self, request: web.Request) -> web.StreamResponse:
        ref = shapes.ref_of(**request.match_info)
        return web.json_response(await self._calls.call(self._shown, ref))

    def _shown(self, ref: Ref) -> dict[str, Any]:
        item = self._backend.objects.find(ref)
        if item is None:
            raise NotFound(f"{ref} is not there in namespace {ref.namespace}")
        return as_json(item, self._backend.objects.status(item.key))

    async def list(self, request: web.Request) -> web.StreamResponse:
        wanted = Wanted(request)
        if flag(request.query, "watch"):
            since = number(request.query, "resourceVersion", -1)
            return await self._calls.stream(request, lambda stopped: self._changes(wanted, since, stopped))
        return web.json_response(await self._calls.call(self._listed, wanted))

    def _listed(self, wanted: "Wanted") -> dict[str, Any]:
        objects = self._backend.objects
        # Before the list: a change in between is told twice by a watch that goes on from here, and never lost.
        revision = objects.revision()
        items = [as_json(item, objects.status(item.key)) for item in wanted.list(objects)]
        return {"kind": f"{wanted.kind.value}List", "resourceVersion": revision, "items": items}

    def _changes(self, wanted: "Wanted", since: int, stopped: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """Without a revision to go on from: first all there are, as added."""
        objects = self._backend.objects
        told: dict[str, Ref] = {}
        if since < 0:
            since = objects.revision()
            for item in wanted.list(objects):
                told[item.key.uid] = item.ref
                yield {"type": "ADDED", "object": as_json(item, objects.status(item.key))}
        for key in self._backend.changes(since, stopped):
            if key.kind is wanted.kind:
                yield from self._change(wanted, key, told)

    def _change(self, wanted: "Wanted", key: Key, told: dict[str, Ref]) -> Iterator[dict[str, Any]]:
        objects = self._backend.objects
        item = objects.get(key)
        if item is not None and wanted.takes(item):
            kind = "MODIFIED" if key.uid in told else "ADDED"
            told[key.uid] = item.ref
            yield {"type": kind, "object": as_json(item, objects.status(key))}
        elif key.uid in told or item is None:
            yield {"type": "DELETED", "object": shapes.gone_json(key.kind, key.uid, told.pop(key.uid, None))}

    async def events(self, request: web.Request) -> web.StreamResponse:
        since = number(request.query, "since", 0)
        log = self._backend.events
        if not flag(request.query, "follow"):
            found = await self._calls.call(log.read, since)
            return web.json_response({"events": [shapes.event_json(event) for event in found]}, dumps=shapes.dumps)
        return await self._calls.stream(
            request, lambda stopped: (shapes.event_json(event) for event in log.follow(since, stopped))
        )


class Wanted:
    """Which objects a list or a watch is of. Raises: NotFound, InvalidArgument."""

    def __init__(self, request: web.Request) -> None:
        self.kind: Kind = shapes.kind_of(request.match_info["plural"])
        namespace = request.query.get("namespace")
        self._namespace = shapes.named(namespace) if namespace else None
        self._selects = shapes.selector(request.query.get("labelSelector", ""))

    def list(self, objects: Objects) -> list[Object]:
        return [item for item in objects.list(self.kind, self._namespace) if self.takes(item)]

    def takes(self, item: Object) -> bool:
        mine = self._namespace is None or item.metadata.namespace == self._namespace
        return mine and self._selects(item.metadata.labels)
