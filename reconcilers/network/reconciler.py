"""Network (PURE): the drivers host and none need nothing in the kernel; every sandbox brings its own loopback."""

from typing import Any

from reconcilers.conditions import Decision, refused
from reconcilers.declared import DeclaredReconciler
from reconcilers.interface import Action, Diff, Reconciler
from resources.errors import Unsupported
from resources.kinds import Kind
from resources.object import Object

DRIVERS = ("host", "none")


def network_reconciler() -> Reconciler[None, Action]:
    return DeclaredReconciler(Kind.NETWORK, _report, _decide)


def _report(desired: Object) -> dict[str, Any]:
    return {"driver": desired.effective.driver}


def _decide(desired: Object) -> Decision[Action]:
    driver = desired.effective.driver
    if driver in DRIVERS:
        return Decision(Diff())
    return refused(
        Unsupported(
            f"spec.driver: this version makes no networks of the driver {driver}", hint=f"one of {', '.join(DRIVERS)}"
        )
    )
