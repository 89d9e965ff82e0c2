"""Secret (PURE): kept sealed in the store; the containers that use it project it. Only the names of its keys are told."""

from reconcilers.declared import DeclaredReconciler
from reconcilers.interface import Action, Reconciler
from resources.kinds import Kind


def secret_reconciler() -> Reconciler[None, Action]:
    return DeclaredReconciler(Kind.SECRET, lambda desired: {"keys": sorted(desired.effective.entries)})
