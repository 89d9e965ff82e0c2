"""What changes desired state, and the one operation here that does not (kill). Each answers when it is written; the loop
does the work."""

from typing import Any

from aiohttp import web

from controller.api.native import shapes, submissions
from controller.api.native.calls import Calls
from controller.api.native.requests import flag, read_json, text
from controller.containers import lifecycle
from controller.plan import to_json
from controller.views import as_json
from resources.errors import FailedPrecondition, InvalidArgument, NotFound
from resources.kinds import API_VERSION
from resources.meta import Ref


class Writing:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._backend = calls.backend

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/apply", self.apply),
            web.post("/plan", self.plan),
            web.put("/uploads/{digest}", self.upload),
            web.put("/{plural}/{namespace}/{name}", self.put),
            web.delete("/{plural}/{namespace}/{name}", self.delete),
            web.post("/containers/{namespace}/{name}/{verb}", self.act),
        ]

    async def apply(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._calls.call(self._apply, await read_json(request)))

    async def plan(self, request: web.Request) -> web.StreamResponse:
        body = await read_json(request)
        return web.json_response(await self._calls.call(self._apply, {**body, "dryRun": True}))

    def _apply(self, body: dict[str, Any]) -> dict[str, Any]:
        read = submissions.read(body)
        if read.dry_run:
            return to_json(self._backend.plan(read.submissions, read.options))
        self._check_uploads(read)
        return shapes.applied_json(self._backend.apply(read.submissions, read.options))

    def _check_uploads(self, read: submissions.Request) -> None:
        absent = sorted(self._backend.wanted(read.submissions))
        if absent:
            hint = f"send it first: PUT /apis/lading/v1/uploads/{absent[0]}"
            raise FailedPrecondition(f"the content {', '.join(absent)} is not here", hint=hint)

    async def put(self, request: web.Request) -> web.StreamResponse:
        ref = shapes.ref_of(**request.match_info)
        manifest = _named(await read_json(request), ref)
        body = {"manifests": [manifest], "owner": text(request.query, "owner"), "adopt": flag(request.query, "adopt")}
        body["dryRun"] = flag(request.query, "dryRun")
        applied = await self._calls.call(self._apply, body)
        return web.json_response(applied, status=201 if applied.get("created") else 200)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        ref = shapes.ref_of(**request.match_info)
        options = {name: flag(request.query, name) for name in ("data", "cascade", "force")}
        marked = await self._calls.call(self._backend.delete, [ref], **options)
        return web.json_response({"deleted": [shapes.ref_json(one) for one in marked]}, status=202)

    async def act(self, request: web.Request) -> web.StreamResponse:
        parts = dict(request.match_info)
        verb = parts.pop("verb")
        ref = shapes.ref_of("containers", **parts)
        if verb == "kill":
            signal = text(request.query, "signal", "SIGKILL")
            await self._calls.call(self._backend.operations.kill, ref, signal)
            return web.json_response({"signalled": shapes.ref_json(ref)})
        if verb not in lifecycle.VERBS:
            raise NotFound(f"there is no verb {verb[:60]!r}", hint=f"there are {', '.join((*lifecycle.VERBS, 'kill'))}")
        return web.json_response(await self._calls.call(self._edit, verb, ref), status=202)

    def _edit(self, verb: str, ref: Ref) -> dict[str, Any]:
        item = lifecycle.ask(self._backend, verb, ref, submissions.MANAGER)
        return as_json(item, self._backend.objects.status(item.key))

    async def upload(self, request: web.Request) -> web.StreamResponse:
        digest, size = request.match_info["digest"], request.content_length
        if size is None:
            raise web.HTTPLengthRequired(text="send Content-Length")
        await self._calls.take(request, digest, size)
        return web.json_response({"digest": digest, "size": size}, status=201)


def _named(manifest: dict[str, Any], ref: Ref) -> dict[str, Any]:
    """The manifest with what the address says of it. Raises: InvalidArgument where the two differ."""
    metadata = manifest.get("metadata", {})
    if not isinstance(metadata, dict):
        raise InvalidArgument("metadata is an object")
    for place, name, wanted in (
        (manifest, "apiVersion", API_VERSION),
        (manifest, "kind", ref.kind.value),
        (metadata, "namespace", ref.namespace),
        (metadata, "name", ref.name),
    ):
        if place.setdefault(name, wanted) != wanted:
            raise InvalidArgument(f"{name} is {str(place[name])[:60]!r} in the body and {wanted!r} in the address")
    return {**manifest, "metadata": metadata}
