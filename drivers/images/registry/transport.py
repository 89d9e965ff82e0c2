"""Requests over HTTP: connections of one operation, their bounds in time and size, and redirects.

A session belongs to one operation and its connections end with it. Threads share it, each with connections of its own.
"""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext, suppress

from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.response import BaseHTTPResponse
from urllib3.util.url import Url as ProxyUrl

from drivers.images.registry.connect import reach
from drivers.images.registry.interface import Patience, RegistryConfig
from drivers.images.registry.origin import Address, Origin, Url, address, joined, may_reach
from drivers.images.registry.proxy import Proxies, Proxy
from drivers.images.registry.stop import Line, Stop, Watchdog
from drivers.images.registry.tls import Contexts
from drivers.images.registry.trouble import FOREIGN, NoTls, Passing, Wrong, translated
from resources.errors import EngineError, InvalidArgument, PermissionDenied

MAX_HOPS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_PIECE = 1 << 18
_AGENT = "lading"
# What a registry sends must not reach a log through urllib3's warnings on it.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class _Reaching(HTTPConnection):
    """Connects as `reach` does and can be cut from another thread."""

    line: Line
    connecting: Callable[[], socket.socket]
    greeting: float

    def _new_conn(self) -> socket.socket:
        connected = self.connecting()
        self.line.attach(connected)
        connected.settimeout(self.greeting)
        return connected


class _ReachingTls(_Reaching, HTTPSConnection):
    pass


class Reply:
    """An answer whose body is still to be read."""

    def __init__(
        self, url: Url, response: BaseHTTPResponse, patience: Patience, line: Line, ended: Callable[[bool], None]
    ) -> None:
        self.url = url
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._patience = patience
        self._ended: Callable[[bool], None] | None = ended
        self.unbounded = "Content-Length" not in self.headers and "Transfer-Encoding" not in self.headers
        """Nobody can tell whether the body is whole: it ends with the connection, or with a head that was cut off."""
        chunked = "Transfer-Encoding" in self.headers
        self._watchdog = Watchdog(line, patience.stall) if chunked else None
        """Between chunks and after them there may be text without end."""
        self._window = [0.0, 0.0]
        """Seconds waited for the body, and what came in them, since the rate was last looked at."""

    def read(self, limit: int = _PIECE) -> bytes:
        """At most `limit` bytes, b"" at the end. Raises: Passing when it breaks off, stalls or trickles."""
        if self._ended is None:
            return b""
        started = time.monotonic()
        try:
            with self._watchdog.step() if self._watchdog else nullcontext():
                data = self._response.read1(min(limit, _PIECE))
        except FOREIGN as error:
            self.close()
            raise translated(error, self.url.origin, self._patience.stall) from None
        self._measure(time.monotonic() - started, len(data))
        if not data:
            self._end(True)
        return data

    def whole(self, limit: int, what: str) -> bytes:
        """The body and the end of the connection's use. Raises: InvalidArgument when it is longer than `limit`, Passing
        when it takes too long."""
        body = bytearray()
        until = time.monotonic() + self._patience.deadline
        try:
            while data := self.read():
                body += data
                if len(body) > limit:
                    raise InvalidArgument(f"{what} has more than {limit} bytes")
                if time.monotonic() > until:
                    raise Passing(f"{self.url.origin.netloc} takes too long to send {what}")
        finally:
            self.close()
        return bytes(body)

    def drain(self) -> None:
        """Be done with it, and keep the connection where little is left to be read."""
        left = self.headers.get("Content-Length", "")
        if len(left) < 6 and left.isdecimal():
            with suppress(Passing):
                while self.read():
                    pass
        self.close()

    def close(self) -> None:
        self._end(False)

    def _end(self, complete: bool) -> None:
        if self._ended is not None:
            ended, self._ended = self._ended, None
            if self._watchdog:
                self._watchdog.close()
            self._response.close()
            ended(complete)

    def _measure(self, seconds: float, size: int) -> None:
        self._window[0] += seconds
        self._window[1] += size
        waited, came = self._window
        if size and waited >= self._patience.stall:
            self._window = [0.0, 0.0]
            if came < waited * self._patience.minimum_rate:
                self.close()
                raise Passing(f"{self.url.origin.netloc} sends no more than {came / waited:.0f} bytes a second")


class Session:
    def __init__(
        self,
        stop: Stop,
        patience: Patience,
        proxies: Proxies,
        contexts: Contexts,
        config_of: Callable[[Origin, Origin], RegistryConfig],
    ) -> None:
        self.stop = stop
        self._patience = patience
        self._proxies = proxies
        self._contexts = contexts
        self._config_of = config_of
        self._lock = threading.Lock()
        self._idle: dict[tuple[Origin, Origin], list[_Reaching]] = {}
        """By where they lead and on whose behalf: what one registry may reach another may not."""
        self._closed = False

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle = [one for those in self._idle.values() for one in those]
            self._idle.clear()
        for connection in idle:
            _close(connection)

    def speaks_tls(self, origin: Origin) -> bool:
        """Whether somebody greets with TLS there. Raises: as `send`, also for a certificate that does not hold."""
        connection = self._connection(origin, origin, min(3.0, self._patience.stall))
        try:
            with self.stop.watching(connection.line):
                self._connect(connection, origin)
        except (NoTls, Passing):
            connected = connection.sock is not None
            _close(connection)
            if connected:
                return False
            raise
        except BaseException:
            _close(connection)
            raise
        self._give_back(origin, origin, connection)
        return True

    def follow(
        self, method: str, url: Url, headers: Mapping[str, str], home: Origin, body: bytes | None = None
    ) -> Reply:
        """Send, and go where redirects lead; what proves who we are stays with the first origin (REG-02)."""
        sent = dict(headers)
        for _ in range(MAX_HOPS + 1):
            reply = self.send(method, url, sent, home, body)
            location = reply.headers.get("Location")
            if reply.status not in _REDIRECTS or location is None:
                return reply
            reply.drain()
            if body is not None:
                raise Wrong(f"{url.origin.netloc} redirects what must not be sent elsewhere")
            try:
                there = joined(url, location)
            except InvalidArgument as error:
                raise Wrong(error.message) from None
            if url.origin.scheme == "https" and there.origin.scheme != "https":
                raise Wrong(f"{url.origin.netloc} redirects from https to http, to {there.origin.netloc}: not followed")
            if there.origin != url.origin:
                sent.pop("Authorization", None)
            url = there
        raise Wrong(f"{url.origin.netloc} redirects more than {MAX_HOPS} times")

    def send(self, method: str, url: Url, headers: Mapping[str, str], home: Origin, body: bytes | None = None) -> Reply:
        """Send one request on behalf of the registry `home`; the answer's head is there when it returns.

        Raises: Passing, NoTls, Unavailable (certificate, name), PermissionDenied (an address that is off limits),
        InvalidArgument (a certificate file of ours), Cancelled.
        """
        while True:
            connection = self._take(url.origin, home)
            fresh = connection is None
            connection = connection or self._connection(url.origin, home, self._patience.stall)
            try:
                return self._exchange(connection, method, url, headers, home, body)
            except Passing:
                # A connection that was kept may have been closed by the other side just now.
                if fresh or body is not None:
                    raise

    def _exchange(
        self,
        connection: _Reaching,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        home: Origin,
        body: bytes | None,
    ) -> Reply:
        stack = ExitStack()
        try:
            stack.enter_context(self.stop.watching(connection.line))
            # A head that trickles in byte by byte would never time out by itself.
            timer = threading.Timer(self._patience.connect + self._patience.stall, connection.line.cut)
            timer.daemon = True
            timer.start()
            stack.callback(timer.cancel)
            if connection.is_closed:
                self._connect(connection, url.origin)
            response = self._ask(connection, method, url, headers, body)
            timer.cancel()
        except BaseException:
            stack.close()
            _close(connection)
            self.stop.check()
            raise

        def ended(complete: bool) -> None:
            stack.close()
            if complete and connection.sock is not None:
                self._give_back(url.origin, home, connection)
            else:
                _close(connection)

        return Reply(url, response, self._patience, connection.line, ended)

    def _ask(
        self, connection: _Reaching, method: str, url: Url, headers: Mapping[str, str], body: bytes | None
    ) -> BaseHTTPResponse:
        target, sent = url.target, {"User-Agent": _AGENT, "Accept-Encoding": "identity", **headers}
        if connection.proxy_is_forwarding:
            target, sent = str(url), {**sent, **self._proxy_headers(url.origin)}
        sent["Host"] = url.origin.netloc
        try:
            connection.timeout = self._patience.stall
            connection.request(method, target, body, sent, preload_content=False, decode_content=False)
            return connection.getresponse()
        except FOREIGN as error:
            raise translated(error, url.origin, self._patience.stall) from None

    def _connect(self, connection: _Reaching, origin: Origin) -> None:
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise translated(error, origin, self._patience.stall) from None
        except ssl.SSLError as error:
            if connection.proxy is None and not isinstance(error, ssl.SSLEOFError):
                raise NoTls(
                    f"{origin.netloc} does not speak TLS of 1.2 or newer: {error.reason or 'greeting failed'}",
                    hint="a registry without TLS needs `plainHttp: true` in the settings",
                ) from None
            raise self._not_connected(error, connection, origin) from None
        except FOREIGN as error:
            raise self._not_connected(error, connection, origin) from None

    def _not_connected(self, error: Exception, connection: _Reaching, origin: Origin) -> EngineError:
        self.stop.check()
        if connection.proxy is not None:
            return Passing(
                f"{origin.netloc} cannot be reached through the proxy {connection.host}:{connection.port}",
                hint="HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the engine say what goes through it",
            )
        return translated(error, origin, self._patience.stall)

    def _connection(self, origin: Origin, home: Origin, greeting: float) -> _Reaching:
        proxy = self._proxies.of(origin)
        literal = address(origin.host)
        if literal is not None and not may_reach(literal, origin, home):
            raise PermissionDenied(f"{home.netloc} sends us to {origin.netloc}, which is not for registries to send to")
        connection = self._made(origin, home, proxy)
        first = proxy.origin if proxy else origin

        def allowed(found: Address) -> bool:
            # Where the proxy is has been configured; where it goes on to it must know itself.
            return proxy is not None or may_reach(found, origin, home)

        connection.line = Line()
        connection.greeting = greeting
        connection.connecting = lambda: reach(first.host, first.port, self._patience.connect, self.stop, allowed)
        return connection

    def _made(self, origin: Origin, home: Origin, proxy: Proxy | None) -> _Reaching:
        first = proxy.origin if proxy else origin
        config = ProxyConfig(self._contexts.get(RegistryConfig()), False, None, None) if proxy else None
        through = ProxyUrl(proxy.origin.scheme, None, first.host, first.port) if proxy else None
        if origin.scheme == "http" and (proxy is None or proxy.origin.scheme == "http"):
            return _Reaching(first.host, first.port, proxy=through, proxy_config=config)
        context = self._contexts.get(self._config_of(origin, home))
        connection = _ReachingTls(first.host, first.port, proxy=through, proxy_config=config, ssl_context=context)
        if proxy is not None and origin.scheme == "https":
            connection.set_tunnel(origin.host, origin.port, dict(proxy.headers), proxy.origin.scheme)
        return connection

    def _proxy_headers(self, origin: Origin) -> Mapping[str, str]:
        proxy = self._proxies.of(origin)
        return proxy.headers if proxy else {}

    def _take(self, origin: Origin, home: Origin) -> _Reaching | None:
        with self._lock:
            idle = self._idle.get((origin, home), [])
            while idle:
                connection = idle.pop()
                if connection.is_connected:
                    return connection
                _close(connection)
        return None

    def _give_back(self, origin: Origin, home: Origin, connection: _Reaching) -> None:
        with self._lock:
            if not self._closed:
                self._idle.setdefault((origin, home), []).append(connection)
                return
        _close(connection)


def _close(connection: _Reaching) -> None:
    connection.close()
    connection.line.close()
