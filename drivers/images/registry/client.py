"""The client of registries: what is shared by all operations of an engine. OCI distribution spec 1.1, Docker schema 2."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from drivers.images.interface import Credentials
from drivers.images.reference import Reference
from drivers.images.registry.attempts import Attempts, HeldBack
from drivers.images.registry.endpoint import Endpoints
from drivers.images.registry.interface import CredentialStore, Patience, RegistryConfig
from drivers.images.registry.proxy import Proxies
from drivers.images.registry.repository import Asking, Repository
from drivers.images.registry.stop import Stop
from drivers.images.registry.tls import Contexts
from drivers.images.registry.tokens import Tokens
from drivers.images.registry.transport import Session


class RegistryClient:
    """Threads share it. `parallel` blobs of one pull are fetched at a time, `total` of all pulls together."""

    def __init__(
        self,
        registries: Mapping[str, RegistryConfig] | None = None,
        credentials: CredentialStore | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        patience: Patience = Patience(),  # noqa: B008  (frozen)
        parallel: int = 3,
        total: int = 12,
    ) -> None:
        """`registries` by `host` or `host:port`; `environment` is where HTTPS_PROXY, HTTP_PROXY and NO_PROXY are.

        Raises: InvalidArgument for what is no host. A proxy or a file that cannot be used is told when it is needed.
        """
        self.patience = patience
        self.parallel = parallel
        self.total = total
        self._endpoints = Endpoints(registries or {})
        self._credentials = credentials
        self._proxies = Proxies(environment or {})
        self._contexts = Contexts()
        self._tokens = Tokens()
        self._held_back = HeldBack()

    @contextmanager
    def session(self, stop: Stop) -> Iterator[Session]:
        session = Session(stop, self.patience, self._proxies, self._contexts, self._endpoints.config)
        try:
            yield session
        finally:
            session.close()

    def repository(self, session: Session, reference: Reference, credentials: Credentials | None) -> Repository:
        """`credentials` are those for the registry itself; mirrors have none but what is stored for them.

        Raises: as CredentialStore.get.
        """
        places = []
        for endpoint in self._endpoints.of(reference.domain):
            given = credentials if endpoint.host == reference.domain else None
            if given is None and self._credentials is not None:
                given = self._credentials.get(endpoint.host)
            places.append(Asking(session, endpoint, given, self._tokens, self._held_back))
        return Repository(reference, places, self.patience, session.stop)

    def check(self, host: str, credentials: Credentials) -> None:
        """Ask the registry whether it takes these credentials.

        Raises: PermissionDenied when it does not, Unavailable, InvalidArgument for a malformed host.
        """
        stop = Stop()
        with self.session(stop) as session:
            asking = Asking(session, self._endpoints.one(host), credentials, self._tokens, self._held_back)
            Attempts(self.patience, stop).run(asking.base)
