"""Config (PURE): kept in the store; the containers that use it project it."""

from reconcilers.declared import DeclaredReconciler
from reconcilers.interface import Action, Reconciler
from resources.kinds import Kind


def config_reconciler() -> Reconciler[None, Action]:
    return DeclaredReconciler(Kind.CONFIG, lambda desired: {"digests": dict(sorted(desired.effective.digests.items()))})
