"""What goes wrong on the way to a registry, in words; and what is worth another attempt."""

import http.client
import socket
import ssl

from urllib3.exceptions import HTTPError

from drivers.images.registry.origin import Origin
from resources.errors import EngineError, PermissionDenied, Unavailable

FOREIGN = (OSError, http.client.HTTPException, HTTPError, ValueError)
"""What sockets, TLS and HTTP raise. Their texts may hold URLs with a proxy's password: they are not repeated."""

_CLOCK = {"certificate has expired", "certificate is not yet valid"}


class Passing(Unavailable):
    """It may well work in a moment."""

    def __init__(self, message: str, *, hint: str = "", after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.after = after
        """Seconds the registry asks to wait."""


class NoTls(Unavailable):
    """Somebody answers, but does not speak TLS as we do."""


class Wrong(Unavailable):
    """One place gives what cannot be right; another that has the same may do better."""


def translated(error: BaseException, origin: Origin, stall: float) -> EngineError:
    cause = _innermost(error)
    where = origin.netloc
    if isinstance(cause, ssl.SSLCertVerificationError):
        flaw = cause.verify_message.rstrip(".")
        hint = "is the clock right?" if flaw in _CLOCK else "`ca` of a registry's settings names authorities to trust"
        return Unavailable(f"the certificate of {where} does not hold: {flaw}", hint=hint)
    if isinstance(cause, PermissionError) and cause.errno is None:
        return PermissionDenied(f"{where} is not asked: {cause.args[0]}")
    if isinstance(cause, socket.gaierror):
        kind = Passing if cause.errno == socket.EAI_AGAIN else Unavailable
        return kind(f"the address of {origin.host} cannot be found", hint="check the name, and the host's DNS")
    if isinstance(cause, TimeoutError):
        return Passing(f"{where} sent nothing for {stall:g} seconds", hint="check the network, and try again")
    if isinstance(cause, ssl.SSLError):
        return Passing(f"the connection to {where} broke off: {cause.reason or 'TLS'}")
    if isinstance(cause, OSError) and cause.strerror:
        return Passing(f"{where} cannot be reached: {cause.strerror}")
    if isinstance(cause, (ConnectionError, http.client.IncompleteRead)):
        return Passing(f"the connection to {where} broke off")
    return Passing(f"{where} does not answer as HTTP has it")


def _innermost(error: BaseException) -> BaseException:
    """urllib3 wraps what it caught, as a cause, or as an argument."""
    seen = error
    for _ in range(8):
        inner = seen.__cause__ or next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        if inner is None or (isinstance(seen, OSError) and not isinstance(seen, HTTPError)):
            return seen
        seen = inner
    return seen
