"""The host's key: what it seals only it opens. It lies beside the store, never inside: a copy of the store shows nothing.

AES-256-GCM with a nonce drawn at random for each value, and a keyed digest under a key derived apart, which tells that
two values are equal and nothing else.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
import string
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from drivers.kernel.durable import write_durable
from resources.errors import DataLoss
from resources.secret import Sealed

_KEY_BYTES = 32
_NONCE_BYTES = 12
_MAGIC = b"lading sealed 1\n"
_ALPHABET = string.ascii_letters + string.digits


class HostKey:
    """Implements reconcilers.interface.Sealer."""

    def __init__(self, root: Path) -> None:
        self._path = root / "key"
        found = _read(self._path)
        self.created = found is None
        """There was no key: what a store that was there before holds sealed cannot be opened."""
        key = found or _create(self._path)
        self._values = AESGCM(_derived(key, b"values"))
        self._files = AESGCM(_derived(key, b"files"))
        self._digests = _derived(key, b"digests")

    def seal(self, value: bytes) -> Sealed:
        return Sealed(digest=self.digest(value), value=base64.b64encode(_encrypt(self._values, value)).decode())

    def open(self, sealed: Sealed) -> bytes:
        try:
            return _decrypt(self._values, base64.b64decode(sealed.value, validate=True))
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise DataLoss(
                f"a secret cannot be opened: {self._path} is not the key it was sealed with, or it was altered",
                hint="put the key of that time back, or apply the Secret again",
            ) from error

    def digest(self, value: bytes) -> str:
        return hmac.new(self._digests, value, hashlib.sha256).hexdigest()

    def seal_bytes(self, data: bytes) -> bytes:
        """For files outside the store, such as a saved plan."""
        return _MAGIC + _encrypt(self._files, data)

    def open_bytes(self, data: bytes) -> bytes:
        """Raises: DataLoss for what was not sealed here, or was changed since."""
        if not data.startswith(_MAGIC):
            raise DataLoss("this is no plan that lading saved", hint="manifests are given with -f")
        try:
            return _decrypt(self._files, data[len(_MAGIC) :])
        except (InvalidTag, ValueError) as error:
            raise DataLoss(
                f"this was sealed with another key than {self._path}, or was altered since",
                hint="a saved plan can only be applied on the host that made it",
            ) from error


def generate(length: int) -> str:
    """A secret that has to be typed nowhere and can be: letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _encrypt(cipher: AESGCM, data: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, data, None)


def _decrypt(cipher: AESGCM, data: bytes) -> bytes:
    return cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], None)


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.new(key, purpose, hashlib.sha256).digest()


def _read(path: Path) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataLoss(f"the host's key {path} cannot be read: {error.strerror}") from error
    try:
        key = os.read(fd, _KEY_BYTES + 1)
        if len(key) != _KEY_BYTES:
            raise DataLoss(
                f"the host's key {path} is damaged: it has to be {_KEY_BYTES} bytes",
                hint="put it back from a backup; with another key the secrets of this host cannot be opened",
            )
        if stat.S_IMODE(os.fstat(fd).st_mode) & 0o377:
            os.fchmod(fd, 0o400)
        return key
    finally:
        os.close(fd)


def _create(path: Path) -> bytes:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = os.urandom(_KEY_BYTES)
    write_durable(path, key, 0o400)
    return key
