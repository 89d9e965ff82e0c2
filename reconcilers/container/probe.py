"""Make one health probe and note the answer with the task, where the next engine finds it."""

import threading

from drivers.network.interface import ProbeAnswer
from drivers.runtime.interface import ProcessConfig, Stream
from reconcilers.conditions import failure
from reconcilers.container import hardening
from reconcilers.container.actions import StartProbe
from reconcilers.container.drivers import ContainerDrivers
from reconcilers.container.health import UNHEALTHY, judged, note, record_of, state
from reconcilers.container.model import key_of
from reconcilers.container.ocispec import Resolved, environment
from reconcilers.container.values import environment_of
from resources.errors import NotFound

_KILL = 9
_MESSAGE = 200
"""Characters of an answer that are kept: what a container prints is hostile, and of any length."""


def probe(drivers: ContainerDrivers, action: StartProbe) -> None:
    try:
        answer = _answer(drivers, action)
    except (
        Exception
    ) as error:  # whatever stands in the way of an answer is one: a job that fails would begin again at once
        answer = ProbeAnswer(False, _line(failure(error)[1]))
    now = drivers.now()
    task = drivers.runtime.state(action.task_id)
    if task is None or task.attempt != action.attempt:
        return  # it has been started again meanwhile: this says nothing of what runs now
    before = record_of(task.notes, action.attempt)
    after = judged(
        action.check,
        action.started_at,
        before,
        action.attempt,
        healthy=answer.healthy,
        message=answer.message,
        at=now,
    )
    try:
        drivers.runtime.annotate(action.task_id, note(after))
    except NotFound:
        return
    if state(action.check, after) != state(action.check, before):
        reason = "Unhealthy" if state(action.check, after) == UNHEALTHY else "Healthy"
        drivers.events.emit(key_of(action.task_id), reason, answer.message or reason.lower())


def _answer(drivers: ContainerDrivers, action: StartProbe) -> ProbeAnswer:
    check, timeout = action.check, action.check.timeout / 1000
    sandbox = action.sandbox_id or None
    if check.http is not None:
        return drivers.prober.http(sandbox, check.http.port, check.http.path, timeout)
    if check.tcp is not None:
        return drivers.prober.tcp(sandbox, check.tcp.port, timeout)
    return _outcome(drivers.runtime.exec(action.task_id, _process(drivers, action)), timeout)


def _process(drivers: ContainerDrivers, action: StartProbe) -> ProcessConfig:
    recipe, account = action.recipe, action.account
    resolved = Resolved(
        name=recipe.hostname,
        uid=int(account["uid"]),
        gid=int(account["gid"]),
        groups=tuple(account["groups"]),
        home=str(account["home"]),
        image=recipe.image,
        env=environment_of(recipe, drivers.sealer),
    )
    return ProcessConfig(
        args=action.check.exec or (),
        env=tuple(environment(recipe.spec, resolved, recipe.hostname)),
        cwd=recipe.spec.working_dir or recipe.image.working_dir or "/",
        uid=resolved.uid,
        gid=resolved.gid,
        groups=resolved.groups,
        capabilities=hardening.capabilities(recipe.spec.security),
        no_new_privileges=hardening.no_new_privileges(recipe.spec.security),
    )


def _outcome(stream: Stream, timeout: float) -> ProbeAnswer:
    late = threading.Event()

    def kill() -> None:
        late.set()
        stream.kill(_KILL)

    timer = threading.Timer(timeout, kill)
    timer.start()
    try:
        said = b""
        while (part := stream.read()) is not None:
            said = (said + part[1])[-4 * _MESSAGE :]
        code = stream.wait()
    finally:
        timer.cancel()
        stream.close()
    if late.is_set():
        return ProbeAnswer(False, f"no answer within {timeout:g} s")
    last = _line(said.decode(errors="replace"))
    return ProbeAnswer(code == 0, last if code == 0 else f"exit code {code}{f': {last}' if last else ''}")


def _line(text: str) -> str:
    """The last line of it that says something, printable and short."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return "".join(c if c.isprintable() else "?" for c in last)[:_MESSAGE]
