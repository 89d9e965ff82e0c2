"""Perform one action. What takes long is begun as a job."""

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from drivers.runtime.interface import TaskConfig
from drivers.volumes.interface import VolumeDriver, VolumeState
from reconcilers.attempts import attempted
from reconcilers.container import hardening, stop
from reconcilers.container.actions import (
    AnonymousAt,
    ContainerAction,
    CopyUpVolume,
    CreateAnonymous,
    CreateSandbox,
    CreateTask,
    DeleteAnonymous,
    DeleteProjection,
    DeleteTask,
    DropSandbox,
    ForgetJob,
    HostPath,
    InitProgram,
    MountedAt,
    MountRootfs,
    PauseTask,
    PrepareSnapshot,
    ProjectContent,
    ProjectedAt,
    RecordApplied,
    RecordExit,
    RemoveSnapshot,
    ResumeTask,
    RotateLog,
    SignalTask,
    StageBind,
    StartProbe,
    StartTask,
    UnmountRootfs,
    Unstage,
    UpdateLimits,
    WriteSandboxFiles,
)
from reconcilers.container.binds import check_bind
from reconcilers.container.drivers import ContainerDrivers
from reconcilers.container.model import IO, PROBES, copy_up_job, key_of, probe_job
from reconcilers.container.network_act import NetworkActs
from reconcilers.container.ocispec import Resolved, oci_spec
from reconcilers.container.probe import probe
from reconcilers.container.values import content_of, environment_of
from reconcilers.interface import JobProgress
from resources.errors import EngineError, FailedPrecondition, NotFound, Unsupported


class Actor:
    def __init__(self, drivers: ContainerDrivers) -> None:
        self._drivers = drivers
        self._filling: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        """One filler a volume: two containers that share a new one copy once."""
        self._simple: Mapping[type[Any], Callable[[Any], object]] = {
            **NetworkActs(drivers).acts,
            CreateTask: self._create_task,
            StartTask: self._start_task,
            SignalTask: self._signal,
            ProjectContent: self._project,
            StageBind: self._stage,
            CopyUpVolume: self._copy_up,
            StartProbe: self._probe,
            RecordExit: self._record_exit,
            PrepareSnapshot: self._prepare,
            MountRootfs: lambda a: drivers.roots.mount(a.name, drivers.snapshotter.mounts(a.name)),
            CreateAnonymous: lambda a: drivers.anonymous.create(a.config),
            DeleteAnonymous: lambda a: drivers.anonymous.delete(a.volume_id, data=True),
            CreateSandbox: lambda a: drivers.sandboxes.create(a.sandbox_id, pid=a.pid),
            WriteSandboxFiles: lambda a: drivers.sandboxes.write_files(a.sandbox_id, a.files),
            PauseTask: lambda a: drivers.runtime.pause(a.task_id),
            ResumeTask: lambda a: drivers.runtime.resume(a.task_id),
            UpdateLimits: lambda a: drivers.runtime.update(a.task_id, a.limits),
            RecordApplied: lambda a: drivers.runtime.record_applied(a.task_id, a.applied),
            RotateLog: lambda a: drivers.logs.rotate(a.task_id, max_size=a.max_size, max_files=a.max_files),
            DeleteTask: lambda a: drivers.runtime.delete(a.task_id),
            Unstage: lambda a: drivers.stage.unstage(a.task_id),
            DeleteProjection: lambda a: drivers.projector.delete(a.projection_id),
            UnmountRootfs: lambda a: drivers.roots.unmount(a.name),
            RemoveSnapshot: lambda a: drivers.snapshotter.remove(a.key),
            DropSandbox: lambda a: drivers.sandboxes.delete(a.sandbox_id),
            ForgetJob: lambda a: drivers.jobs.forget(a.job_id),
        }

    def act(self, action: ContainerAction) -> None:
        self._simple[type(action)](action)

    def _prepare(self, action: PrepareSnapshot) -> None:
        make = self._drivers.snapshotter.view if action.view else self._drivers.snapshotter.prepare
        make(action.key, action.parent)

    def _create_task(self, action: CreateTask) -> None:
        runtime = self._drivers.runtime
        try:
            runtime.create(self._task_config(action))
        except EngineError as error:
            runtime.record_failure(action.task_id, action.attempt, f"{error.reason}: {error}")
            raise

    def _start_task(self, action: StartTask) -> None:
        runtime = self._drivers.runtime
        try:
            runtime.start(action.task_id)
        except EngineError as error:
            runtime.record_failure(action.task_id, action.attempt, f"{error.reason}: {error}")
            raise

    def _task_config(self, action: CreateTask) -> TaskConfig:
        drivers, recipe = self._drivers, action.recipe
        spec, rootfs = recipe.spec, drivers.roots.path(action.task_id)
        if spec.logging.driver not in ("file", "none"):
            raise Unsupported(f"logging.driver: this version does not write to {spec.logging.driver}")
        user = spec.user if spec.user is not None else recipe.image.user
        account = drivers.resolve_user(rootfs, user, spec.groups)
        sources = {bind.target: self._stage(bind) for bind in action.binds}
        resolved = Resolved(
            name=recipe.hostname,
            uid=account.uid,
            gid=account.gid,
            groups=account.groups,
            home=account.home,
            image=recipe.image,
            env=environment_of(recipe, drivers.sealer),
            init=sources.pop("init", None),
            sources=sources,
            netns=self._netns(action.sandbox_id),
            files=drivers.sandboxes.files(action.files_id) if action.files_id else {},
            shared=action.shared,
            masked=(*hardening.MASKED, *drivers.host.masked()),
            anonymous=tuple(bind.target for bind in action.binds if isinstance(bind.source, AnonymousAt)),
        )
        made = oci_spec(spec, resolved, drivers.seccomp)
        who = {"uid": account.uid, "gid": account.gid, "groups": list(account.groups), "home": account.home}
        return TaskConfig(
            id=action.task_id,
            spec=made,
            rootfs=rootfs,
            cgroup_parent=recipe.namespace,
            applied={**action.applied, "account": who},
            attempt=action.attempt,
            limits=action.limits,
            log=action.log,
            terminal=spec.tty,
            stdin=spec.stdin,
            masked=tuple(made["linux"]["maskedPaths"]),
            readonly=tuple(made["linux"]["readonlyPaths"]),
        )

    def _netns(self, sandbox_id: str) -> Path | None:
        if not sandbox_id:
            return None
        sandbox = self._drivers.sandboxes.inspect(sandbox_id)
        if sandbox is None:
            raise FailedPrecondition(f"the network namespace {sandbox_id[:12]} is not there")
        return sandbox.netns

    def _stage(self, bind: StageBind) -> Path:
        drivers = self._drivers
        if isinstance(bind.source, ProjectedAt):
            source = drivers.projector.path(bind.source.projection_id, bind.source.key)
        elif isinstance(bind.source, MountedAt):
            source = drivers.roots.path(bind.source.name)
        elif isinstance(bind.source, InitProgram):
            found = drivers.host.init_program()
            if found is None:
                raise FailedPrecondition("init: this host has no static init program", hint="apt-get install tini")
            source = found
        elif isinstance(bind.source, HostPath):
            source = bind.source.path
            check_bind(Path(os.path.realpath(source)), bind.source.dangerous, drivers.state)
        elif isinstance(bind.source, AnonymousAt):
            source = _found(drivers.anonymous, bind.source.volume_id).path
        else:
            source = bind.source
        return drivers.stage.stage(bind.task_id, bind.slot, source, bind.inner, create=bind.create)

    def _project(self, action: ProjectContent) -> None:
        files = {key: content_of(value, self._drivers.sealer) for key, value in action.files.items()}
        self._drivers.projector.project(
            action.projection_id,
            action.version,
            files,
            mode=action.mode,
            uid=action.uid,
            gid=action.gid,
            in_place=action.in_place,
        )

    def _signal(self, action: SignalTask) -> None:
        runtime = self._drivers.runtime
        if action.stopping is None:
            runtime.kill(action.task_id, action.signal)
            return
        runtime.annotate(action.task_id, stop.note(action.attempt, action.stopping))
        runtime.kill(action.task_id, action.signal, everything=action.everything)
        runtime.annotate(action.task_id, stop.note(action.attempt, action.stopping, action.signal))

    def _record_exit(self, action: RecordExit) -> None:
        self._drivers.runtime.record_exit(action.task_id)
        if action.oom_killed:
            key = key_of(action.task_id)
            self._drivers.events.emit(key, "OOMKilled", "the kernel killed it: out of memory", task=action.task_id)

    def _copy_up(self, action: CopyUpVolume) -> None:
        job = copy_up_job(action.uid, action.volume_id)

        def run(progress: JobProgress) -> None:
            progress(f"copy {action.target}", 0, 0)
            self._fill(action)

        work = attempted(action.task_id, action.attempt, self._drivers.now, run)
        self._drivers.jobs.start(job, IO, work)

    def _fill(self, action: CopyUpVolume) -> None:
        drivers = self._drivers
        driver = drivers.anonymous if action.driver is None else drivers.volumes[action.driver]
        with self._filling[action.volume_id]:
            state = _found(driver, action.volume_id)
            if not state.populated:
                drivers.copy_up.copy_up(drivers.roots.path(action.task_id), action.target, state.path)
                driver.mark_populated(action.volume_id)

    def _probe(self, action: StartProbe) -> None:
        def run(progress: JobProgress) -> None:
            del progress
            probe(self._drivers, action)

        self._drivers.jobs.start(probe_job(action.uid), PROBES, run)


def _found(driver: VolumeDriver, volume_id: str) -> VolumeState:
    state = driver.inspect(volume_id)
    if state is None:
        raise NotFound(f"volume {volume_id} is gone")
    return state
