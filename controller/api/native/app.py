"""The application: routes below /apis/lading/v1, and around each the checks before and the answer to an error after."""

from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from controller.api.errors import body
from controller.api.native.calls import Calls, failure
from controller.api.native.reading import Reading
from controller.api.native.requests import MAX_BODY, check
from controller.api.native.writing import Writing

PREFIX = "/apis/lading/v1"
_CODES = {
    400: "InvalidArgument",
    403: "PermissionDenied",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "Timeout",
    411: "LengthRequired",
    413: "TooLarge",
    415: "UnsupportedMediaType",
    421: "Misdirected",
}


def make(calls: Calls) -> web.Application:
    application = web.Application(middlewares=[_answer_errors], client_max_size=MAX_BODY)
    routes = (*Reading(calls).routes(), *Writing(calls).routes())
    application.add_routes([web.RouteDef(r.method, PREFIX + r.path, r.handler, r.kwargs) for r in routes])
    return application


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        check(request)
        return await handler(request)
    except web.HTTPException as error:
        status, answer = error.status, body(_CODES.get(error.status, "Error"), error.text or error.reason)
    except ConnectionError:  # it has gone, and nobody is left to answer
        raise
    except Exception as error:
        status, answer = failure(request, error)
    return _refusal(request, status, answer)


def _refusal(request: web.Request, status: int, answer: dict[str, Any]) -> web.Response:
    response = web.json_response(answer, status=status)
    if request.body_exists and not request.content.at_eof():
        # The rest of its body is not read; nothing that follows on this connection could be told from it.
        response.force_close()
    return response
