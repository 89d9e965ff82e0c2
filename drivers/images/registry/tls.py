"""TLS as registries are configured: system authorities and one's own, client certificates, never below 1.2."""

import ssl
import threading

from drivers.images.registry.interface import RegistryConfig
from resources.errors import InvalidArgument


class Contexts:
    """One context a configuration, made anew when a file of it has changed: certificates are renewed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contexts: dict[RegistryConfig, tuple[tuple[int, ...], ssl.SSLContext]] = {}

    def get(self, config: RegistryConfig) -> ssl.SSLContext:
        """Raises: InvalidArgument naming the file that cannot be used."""
        changed = _changed(config)
        with self._lock:
            known = self._contexts.get(config)
            if known is None or known[0] != changed:
                known = self._contexts[config] = (changed, _context(config))
        return known[1]


def _changed(config: RegistryConfig) -> tuple[int, ...]:
    files = (config.ca, config.certificate, config.key)
    return tuple(path.stat().st_mtime_ns for path in files if path and path.exists())


def _context(config: RegistryConfig) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.ca:
        try:
            context.load_verify_locations(config.ca)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"the authorities in {config.ca} cannot be used: {_why(error)}") from error
    if config.certificate:
        try:
            context.load_cert_chain(config.certificate, config.key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"the certificate {config.certificate} cannot be used: {_why(error)}") from error
    return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not PEM"
    return error.strerror or type(error).__name__
