"""What a broken, slow or hostile registry does to single answers: given to `FakeRegistry.fault`."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.fake_registry import Answer, Fault, Request, error


def status(code: int, headers: Mapping[str, str] | None = None, message: str = "") -> Fault:
    return lambda request, answer: error(code, "UNKNOWN", headers or {}, message)


def cut(after: float, *, reset: bool = False) -> Fault:
    """After this part of the body."""
    return lambda request, answer: replace(answer, cut=int(len(answer.body) * after), reset=reset)


def stall(after: float, seconds: float) -> Fault:
    return lambda request, answer: replace(answer, cut=int(len(answer.body) * after), pause=seconds)


def trickle(seconds: float) -> Fault:
    return lambda request, answer: replace(answer, trickle=seconds)


def body(change: Callable[[bytes], bytes]) -> Fault:
    return lambda request, answer: replace(answer, body=change(answer.body))


def headers(**changes: str | None) -> Fault:
    """`_` in a name is `-`; None takes it away."""

    def fault(request: Request, answer: Answer) -> Answer:
        changed = {**answer.headers, **{name.replace("_", "-"): value for name, value in changes.items()}}
        return replace(answer, headers={name: value for name, value in changed.items() if value is not None})

    return fault


def redirect(location: str, code: int = 307) -> Fault:
    return lambda request, answer: Answer(code, {"Location": location.replace("{path}", request.path)})


def raw(data: bytes) -> Fault:
    return lambda request, answer: replace(answer, raw=data)
