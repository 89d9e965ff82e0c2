"""One repository during one operation: manifests and blobs of it, from wherever they can be had."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from drivers.images.digest import is_digest, of_bytes
from drivers.images.interface import Credentials, Descriptor
from drivers.images.limits import DEFAULT
from drivers.images.manifest import INDEXES, MANIFESTS
from drivers.images.reference import Reference
from drivers.images.registry.attempts import Attempts, HeldBack
from drivers.images.registry.challenge import challenges
from drivers.images.registry.documents import media_type_of
from drivers.images.registry.endpoint import Endpoint
from drivers.images.registry.interface import Patience
from drivers.images.registry.origin import Origin, Url
from drivers.images.registry.refusal import login_refused, moment, refusal
from drivers.images.registry.stop import Stop
from drivers.images.registry.tokens import Key, Tokens, is_basic
from drivers.images.registry.transport import Reply, Session
from drivers.images.registry.trouble import Passing
from resources.errors import (
    Cancelled,
    DataLoss,
    EngineError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)

T = TypeVar("T")
_ACCEPT = ", ".join((*MANIFESTS, *INDEXES))
_SHORT = 19
_MIRROR_DEADLINE = 5.0
_MAX_MANIFEST = DEFAULT.max_manifest


class Asking:
    """Asks one registry on behalf of one user."""

    def __init__(
        self,
        session: Session,
        endpoint: Endpoint,
        credentials: Credentials | None,
        tokens: Tokens,
        held_back: HeldBack,
    ) -> None:
        self.host = endpoint.host
        self._session = session
        self._endpoint = endpoint
        self._credentials = credentials
        self._tokens = tokens
        self._held_back = held_back
        self._who = (endpoint.host, credentials)
        """Limits are a user's: a login is what gets around one."""
        self._origin: Origin | None = None

    def base(self) -> None:
        """See whether the credentials are taken at all. Raises: PermissionDenied when they are not; as `ask`."""
        reply, _ = self._authorized("GET", "/v2/", {}, "")
        reply.drain()
        if reply.status in (401, 403):
            raise PermissionDenied(f"{self.host} refuses the login", hint="check the name and the password")
        if reply.status == 404:
            raise NotFound(f"{self.host} is no registry", hint="host or host:port, without a path")
        if reply.status != 200:
            raise self._refused(reply, "/v2/", "")

    def ask(
        self,
        method: str,
        repository: str,
        path: str,
        headers: Mapping[str, str],
        expected: tuple[int, ...] = (200,),
        what: str = "",
    ) -> Reply:
        """One attempt. Raises: as refusal and Session.follow say."""
        reply, proof = self._authorized(method, f"/v2/{repository}/{path}", headers, f"repository:{repository}:pull")
        if reply.status not in expected:
            raise self._refused(reply, what, proof)
        return reply

    def _authorized(self, method: str, target: str, headers: Mapping[str, str], scope: str) -> tuple[Reply, str]:
        """The answer, and what was sent for the last time to prove who asks."""
        left = self._held_back.left(self._who)
        if left:
            raise Passing(f"{self.host} has asked to wait until {moment(left)}", after=left)
        origin = self._where()
        key = Key(self.host, origin, scope, self._credentials)
        value = self._tokens.known(key) or ""
        for fresh in (False, True):
            sent = {**headers, "Authorization": value} if value else headers
            reply = self._session.follow(method, Url(origin, target), sent, origin)
            # A challenge of wherever we were redirected to is not one of the registry.
            if reply.status != 401 or reply.url.origin != origin:
                break
            self._tokens.forget(key)
            if fresh:
                break
            reply.drain()
            value = self._tokens.obtain(self._session, key, challenges(reply.headers.getlist("WWW-Authenticate")))
        return reply, value

    def _refused(self, reply: Reply, what: str, proof: str) -> EngineError:
        origin = self._where()
        if reply.url.origin != origin and 400 <= reply.status < 500 and reply.status not in (408, 429):
            reply.close()
            # Such links are signed and soon out of date: the registry gives another.
            return Passing(f"{reply.url.origin.netloc}, where {self.host} sends us to, answers HTTP {reply.status}")
        if reply.status == 401 and self._credentials is not None and is_basic(proof):
            reply.close()
            return login_refused(self.host, self.host, self._credentials)
        error = refusal(reply, self.host, what, self._credentials)
        if isinstance(error, Passing) and error.after:
            self._held_back.hold(self._who, error.after)
        return error

    def _where(self) -> Origin:
        if self._origin is None:
            scheme = "http" if self._endpoint.config.plain_http else "https"
            if self._endpoint.may_lack_tls and not self._session.speaks_tls(self._endpoint.origin("https")):
                scheme = "http"
            self._origin = self._endpoint.origin(scheme)
        return self._origin


class Repository:
    def __init__(self, reference: Reference, places: list[Asking], patience: Patience, stop: Stop) -> None:
        """`places` in order; the last is the registry itself, and what it says counts."""
        self.reference = reference
        self.stop = stop
        self._mirrors, self._registry = places[:-1], places[-1]
        self._given_up: set[str] = set()
        self._patience = patience
        self._short = replace(
            patience, attempts=min(2, patience.attempts), deadline=min(_MIRROR_DEADLINE, patience.deadline)
        )

    def resolve(self) -> Descriptor:
        return self.anywhere(lambda place, attempts: attempts.run(lambda: self._resolve(place)))

    def manifest(self, tag_or_digest: str, limit: int) -> tuple[Descriptor, bytes]:
        """A manifest or an index; verified where it is asked for by digest. Its media type is what it is."""
        return self.anywhere(lambda place, attempts: attempts.run(lambda: self._manifest(place, tag_or_digest, limit)))

    def anywhere(self, work: Callable[[Asking, Attempts], T]) -> T:
        """Do it where it works first: at the mirrors, then the registry itself, whose errors are the ones to be told.

        Mirrors are waited for a little, and one that does not answer is left out from then on.
        """
        for place in self._mirrors:
            if place.host in self._given_up:
                continue
            try:
                return work(place, Attempts(self._short, self.stop))
            except (Cancelled, ResourceExhausted):
                raise
            except Unavailable:
                self._given_up.add(place.host)
            except EngineError:
                continue
        return work(self._registry, Attempts(self._patience, self.stop))

    def blob(self, place: Asking, blob: Descriptor, offset: int) -> Reply:
        """One attempt at a blob's content from `offset` on; the answer is 200, 206 or, with an offset, 416."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        expected = (200, 206, 416) if offset else (200,)
        path = f"blobs/{blob.digest}"
        return place.ask("GET", self.reference.path, path, headers, expected, self._shown(blob.digest))

    def _resolve(self, place: Asking) -> Descriptor:
        wanted = self.reference.digest or self.reference.tag
        # Some do not know HEAD.
        reply = self._ask_manifest(place, "HEAD", wanted, expected=(200, 400, 405, 501))
        reply.drain()
        digest = reply.headers.get("Docker-Content-Digest", "")
        kind = reply.headers.get("Content-Type", "").partition(";")[0].strip()
        size = reply.headers.get("Content-Length", "")
        said = reply.status == 200 and is_digest(digest) and digest == (self.reference.digest or digest)
        if said and kind in (*MANIFESTS, *INDEXES) and re.fullmatch(r"[0-9]{1,9}", size):
            return Descriptor(kind, digest, int(size))
        return self._manifest(place, wanted, _MAX_MANIFEST)[0]

    def _manifest(self, place: Asking, wanted: str, limit: int) -> tuple[Descriptor, bytes]:
        reply = self._ask_manifest(place, "GET", wanted)
        what = self._shown(wanted)
        data = reply.whole(limit, what)
        digest = of_bytes(data)
        stated = reply.headers.get("Docker-Content-Digest", digest)
        expected = wanted if is_digest(wanted) else stated
        try:
            if is_digest(expected) and digest != expected:
                raise DataLoss(
                    f"{place.host} gives {digest} for {expected}",
                    hint="damaged or tampered with on the way, or at the registry",
                )
            kind = media_type_of(data, reply.headers.get("Content-Type", ""), what, limit)
        except (DataLoss, InvalidArgument):
            if reply.unbounded:
                raise Passing(f"the connection to {place.host} broke off") from None
            raise
        return Descriptor(kind, digest, len(data)), data

    def _ask_manifest(self, place: Asking, method: str, wanted: str, expected: tuple[int, ...] = (200,)) -> Reply:
        headers = {"Accept": _ACCEPT}
        return place.ask(method, self.reference.path, f"manifests/{wanted}", headers, expected, self._shown(wanted))

    def _shown(self, wanted: str) -> str:
        if is_digest(wanted):
            return f"{self.reference.path}@{wanted[:_SHORT]}…"
        return f"{self.reference.path}:{wanted}"
