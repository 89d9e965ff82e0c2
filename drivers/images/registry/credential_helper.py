"""`docker-credential-NAME` programs: one request each, on their standard input, and one answer of bounded size.

The protocol is that of github.com/docker/docker-credential-helpers.
"""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from drivers.images.interface import Credentials
from drivers.images.strictjson import load_object
from resources.errors import EngineError, InvalidArgument, Unavailable

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}", re.ASCII)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MAX_OUTPUT = 1 << 20
_NOT_FOUND = b"credentials not found"
_TOKEN_USER = "<token>"


class CredentialHelper:
    def __init__(self, name: str, environment: Mapping[str, str], timeout: float) -> None:
        """Raises: InvalidArgument for a malformed name."""
        if not _NAME.fullmatch(name):
            raise InvalidArgument(f"{name[:80]!r} cannot be the name of a credential helper")
        self._program = f"docker-credential-{name}"
        self._environment = environment
        self._timeout = timeout

    def get(self, server: str) -> Credentials | None:
        status, output = self._run("get", server.encode())
        if status != 0:
            if _NOT_FOUND in output:
                return None
            raise self._failed(f"status {status}")
        answer = self._parsed(output)
        user, secret = answer.get("Username"), answer.get("Secret")
        if not isinstance(user, str) or not isinstance(secret, str):
            raise self._failed("an answer without Username and Secret")
        if user == _TOKEN_USER:
            return Credentials(identity_token=secret)
        return Credentials(user, secret) if user or secret else None

    def put(self, server: str, credentials: Credentials) -> None:
        token = credentials.identity_token
        request = {
            "ServerURL": server,
            "Username": _TOKEN_USER if token else credentials.username,
            "Secret": token or credentials.password,
        }
        status, _ = self._run("store", json.dumps(request).encode())
        if status != 0:
            raise self._failed(f"status {status}")

    def delete(self, server: str) -> None:
        """Absent is fine."""
        status, output = self._run("erase", server.encode())
        if status != 0 and _NOT_FOUND not in output:
            raise self._failed(f"status {status}")

    def list(self) -> Mapping[str, str]:
        """User names by server, as the helper has them."""
        status, output = self._run("list", b"")
        if status != 0:
            raise self._failed(f"status {status}")
        return {server: user for server, user in self._parsed(output).items() if isinstance(user, str)}

    def _parsed(self, output: bytes) -> Mapping[str, object]:
        try:
            return load_object(output, self._program, _MAX_OUTPUT)
        except InvalidArgument:
            # What is wrong with it would quote from it.
            raise self._failed("an answer that is not JSON") from None

    def _failed(self, how: str) -> EngineError:
        return Unavailable(
            f"the credential helper {self._program} ended with {how}", hint="run it by hand to see what it lacks"
        )

    def _found(self) -> Path:
        for folder in self._environment.get("PATH", _PATH).split(os.pathsep):
            candidate = Path(folder, self._program)
            # A folder that is relative to wherever we happen to be is no place for programs.
            if candidate.is_absolute() and candidate.is_file() and os.access(candidate, os.X_OK):
                return candidate
        raise Unavailable(f"the credential helper {self._program} is not there", hint="install it, or see `credsStore`")

    def _run(self, action: str, request: bytes) -> tuple[int, bytes]:
        program = self._found()
        environment = {"PATH": _PATH, "LC_ALL": "C", **self._environment}
        try:
            process = subprocess.Popen(
                [program, action],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"the credential helper {program} cannot be run: {error.strerror}") from None
        late = threading.Event()

        def end() -> None:
            late.set()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(self._timeout, end)
        timer.start()
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            with suppress(BrokenPipeError):
                process.stdin.write(request)
                process.stdin.close()
            output = process.stdout.read(_MAX_OUTPUT + 1)
            if len(output) > _MAX_OUTPUT:
                end()
        status = process.wait()
        timer.cancel()
        if late.is_set():
            raise Unavailable(f"the credential helper {program} takes too long or says too much")
        return status, output
