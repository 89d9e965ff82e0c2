"""Manifests of a small shop, and a user who has them."""

from tests.unit.controller.cli.fakes import FakeSession

WEB = b"""\
apiVersion: lading/v1
kind: Container
metadata: {name: web}
spec: {image: {name: site}, command: [httpd], networks: [host]}
"""
SITE = b"""\
apiVersion: lading/v1
kind: Image
metadata: {name: site}
spec: {from: {archive: ./site.tar}}
"""
SECRET = b"""\
apiVersion: lading/v1
kind: Secret
metadata: {name: db}
spec: {data: {user: me}, files: {key: ./key.pem}, env: {token: TOKEN}}
"""
FILES = {"shop/web.yaml": WEB, "shop/site.yaml": SITE, "shop/site.tar": b"layers"}


def session(*argv: str, tty: bool = False, **files: bytes) -> FakeSession:
    return FakeSession(*argv, tty=tty, files={**FILES, **files})
