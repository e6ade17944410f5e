"""Carries out many training runs: one after another here, or side by side by Ray, on this machine or on a cluster.

A run lives in its folder, and so does its progress: whoever is given a folder goes on from its newest checkpoint. So a
run whose worker or machine died is simply given to another one. Workers and the process that gives them work must
therefore see the same files.
"""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
import shutil
import socket
import tempfile
import time
import traceback
import uuid
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agents.callbacks import RunInterrupted
from agents.config import RunConfig
from rlhf_envs.cli import EXPECTED, sentence
from rlhf_envs.copies import usable_cores
from rlhf_envs.feedback import StoreClaimedError
from rlhf_envs.runs import PACKAGES, RunInUseError
from rlhf_envs.versions import software_versions
from scripts.benchmarks import Log, figure
from scripts.benchmarks.runs import TrainingRun

FAILURE = "failure.txt"
"""The file in a run's folder that says where an unexpected error came from."""

_ROOT = Path(__file__).parents[2]
_OBJECT_STORE_BYTES = 80 * 2**20
"""Almost the least that Ray takes; nothing large is sent."""

_AGENT_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")

_SECONDS_FOR_PROBES = 180.0
_STARTS = 3
_SECONDS_TO_CONNECT = 5.0
_SECONDS_TO_STOP = 60.0
_SECONDS_FOR_PREDECESSOR = 120.0
"""How long a run waits for a process that still has it: one that was cut off notices it, and PostgreSQL lets go."""


@dataclass(frozen=True)
class Workers:
    """What carries out runs.

    Attributes:
        jobs: how many runs at a time. 1 without an address is this process itself; None is one for each core of this
            machine, or as many as a cluster has room for.
        address: of a running Ray cluster, as "host:port" or "auto"; None for this machine alone.
        cpus, gpus: what each run takes of a machine's.
        retries: how often a run is given to another worker after its own has died.

    Raises:
        ValueError: if a value is out of range, or Ray is needed and not installed.
    """

    jobs: int | None = 1
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    retries: int = 3

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"jobs must be at least 1, not {self.jobs}.")
        if not self.cpus > 0 or not self.gpus >= 0:
            raise ValueError(f"A run needs more than 0 cpus, and 0 gpus or more, not {self.cpus} and {self.gpus}.")
        if self.retries < 0:
            raise ValueError(f"retries must be 0 or more, not {self.retries}.")
        if not self.in_this_process and find_spec("ray") is None:
            raise ValueError(
                "Several runs at a time need Ray: pip install 'rlhf-envs[cluster]'; --jobs 1 does without."
            )

    @property
    def in_this_process(self) -> bool:
        """Whether runs are done here, one after another, without Ray."""
        return self.jobs == 1 and self.address is None


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: which.
        error: why it failed; None where it has finished.
        attempts: how many workers it took.
    """

    run: TrainingRun
    error: str | None = None
    attempts: int = 1


def finish_runs(runs: Sequence[TrainingRun], workers: Workers, log: Log) -> Generator[Outcome]:
    """Finish runs, and give each as soon as it has ended; one that fails does not keep others from being done.

    Close the iterator to stop: runs that are under way save a checkpoint.

    Args:
        runs: those to be done, each in a folder of its own.
        workers: what carries them out.
        log: told of workers that died.

    Raises:
        ValueError: if the cluster cannot be reached, or its machines do not see the runs' folders or have other code.
        RunInterrupted: if it was stopped.
    """
    if not runs:
        return
    if workers.in_this_process:
        for run in runs:
            yield Outcome(run, _attempt(run))
        return
    folder = Path(os.path.commonpath([run.path.absolute().parent for run in runs]))
    folder.mkdir(parents=True, exist_ok=True)
    with _connected(workers) as ray:
        if workers.address is not None:
            _require_same_machines(ray, folder)
        yield from _distributed(ray, runs, workers, log)


def finish_all(planned: Iterable[TrainingRun], jobs: int, out: Path, log: Log) -> None:
    """Do every run of a benchmark that has not been done yet, and say how each ended.

    Args:
        planned: all runs of the benchmark.
        jobs: how many at a time, each in a process of its own if more than one.
        out: the folder that holds them all.
        log: for a line about each.

    Raises:
        ValueError: if a setting is not possible, or a folder holds another run, before any work is done; or if a run
            failed.
        RunInterrupted: if it was stopped.
    """
    workers = Workers(jobs)
    # A run may be planned under several names.
    runs = list({run.path: run for run in planned}.values())
    missing = [run for run in runs if not run.is_finished]
    log(f"{len(runs)} runs, of which {len(runs) - len(missing)} have finished before.")
    with closing(finish_runs(missing, workers, log)) as outcomes:
        for count, outcome in enumerate(outcomes, start=len(runs) - len(missing) + 1):
            place = outcome.run.path.relative_to(out)
            if outcome.error is not None:
                raise ValueError(f"The run in {outcome.run.path} failed: {outcome.error}")
            metrics = outcome.run.directory.read_metrics()
            log(
                f"{count} of {len(runs)}: {place}: true return {figure(metrics['true_return_mean'])} in "
                f"{metrics['wall_seconds']:.0f} s"
            )


def _attempt(run: TrainingRun) -> str | None:
    """Finish a run here; why it failed, or None."""
    try:
        run.finish()
    except EXPECTED as error:
        return sentence(error)
    return None


def _train(settings: str, folder: str) -> str:
    """Finish a run in a worker of Ray; how it ended, as `_ended` writes it.

    Args:
        settings: of the run, as JSON.
        folder: of the run.
    """
    run = TrainingRun(RunConfig.from_json(json.loads(settings)), Path(folder))
    give_up_at = time.monotonic() + _SECONDS_FOR_PREDECESSOR
    while True:
        try:
            return _ended(_attempt_alone(run))
        except (RunInUseError, StoreClaimedError) as error:
            # A worker that was cut off from its cluster goes on until it notices.
            if time.monotonic() > give_up_at:
                return _ended(sentence(error))
        except RunInterrupted:
            return _ended(None, stopped=True)
        time.sleep(1)


def _attempt_alone(run: TrainingRun) -> str | None:
    try:
        run.finish()
    except (RunInUseError, StoreClaimedError):
        raise
    except EXPECTED as error:
        return sentence(error)
    except (RunInterrupted, KeyboardInterrupt):
        raise
    except Exception as error:  # a mistake somewhere in one run, which the others need not share
        (run.path / FAILURE).write_text(traceback.format_exc(), encoding="utf-8")
        return f"{type(error).__name__}: {sentence(error)} ({FAILURE} in its folder says where)"
    return None


def _ended(error: str | None, stopped: bool = False) -> str:
    return json.dumps({"error": error, "stopped": stopped})


def _distributed(ray: Any, runs: Sequence[TrainingRun], workers: Workers, log: Log) -> Iterator[Outcome]:
    """Give runs to workers, and again to others where these died."""
    train = ray.remote(_train).options(num_cpus=workers.cpus, num_gpus=workers.gpus, max_retries=0)
    waiting, running = deque(runs), dict[Any, TrainingRun]()
    attempts: Counter[Path] = Counter()
    most = workers.jobs or len(runs)
    try:
        while waiting or running:
            while waiting and len(running) < most:
                run = waiting.popleft()
                attempts[run.path] += 1
                running[train.remote(json.dumps(run.config.to_json()), str(run.path.absolute()))] = run
            [done], _ = ray.wait(list(running), num_returns=1)
            run = running.pop(done)
            lost, error = _result(ray, done)
            count = attempts[run.path]
            if lost is not None and count <= workers.retries:
                log(f"{run.path.name}: {lost}; another worker goes on from {run.directory.trained_timesteps:,} steps.")
                waiting.appendleft(run)
                continue
            if lost is not None:
                error = f"{lost}, {count} times"
            elif error is None and not run.directory.metrics_path.is_file():
                error = f"its figures are not in {run.path}, which the worker does not share with this machine"
            yield Outcome(run, error, count)
    except KeyboardInterrupt as interrupt:
        raise RunInterrupted from interrupt
    finally:
        # Each worker takes this as Ctrl-C: it saves a checkpoint between two rollouts.
        for reference in running:
            ray.cancel(reference)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=_SECONDS_TO_STOP)


def _result(ray: Any, reference: Any) -> tuple[str | None, str | None]:
    """How a worker was lost, if it was, and otherwise why its run failed, if it did."""
    try:
        ended = json.loads(ray.get(reference))
    except ray.exceptions.RayTaskError as failure:
        return None, f"a worker could not begin with it: {_brief(failure)}"
    except ray.exceptions.RayError as failure:
        return f"its worker died ({type(failure).__name__})", None
    return ("its worker was stopped" if ended["stopped"] else None), ended["error"]


@contextmanager
def _connected(workers: Workers) -> Iterator[Any]:
    """Ray, connected to the cluster, or started on this machine for as long as the context lasts."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_agent_register_timeout_ms", "120000")
    with ExitStack() as cleanup:
        address = workers.address
        if address is None:
            # With the first, Ray listens on loopback alone. Whoever else is on this machine lacks the token.
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            jobs = workers.jobs or usable_cores()
            address = cleanup.enter_context(_local_node(math.ceil(jobs * workers.cpus)))
        else:
            _require_listener(address)
        import ray

        cleanup.callback(ray.shutdown)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises all kinds
            raise ValueError(f"Ray cannot be used on {workers.address or 'this machine'}: {_brief(error)}.") from error
        yield ray


@contextmanager
def _local_node(cpus: int) -> Iterator[str]:
    """A Ray cluster of this machine alone; its address.

    Raises:
        ValueError: if it does not start.
    """
    folder = tempfile.mkdtemp(prefix="ray-")
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = folder
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    try:
        # Where a machine is busy, Ray's processes may take longer to start than Ray waits.
        for left in reversed(range(_STARTS)):
            try:
                nodes.add_node(**node_settings(cpus))
                break
            except Exception as error:  # Ray raises all kinds
                nodes.shutdown()
                if not left:
                    raise ValueError(f"Ray cannot be used on this machine: {_brief(error)}.") from error
        yield nodes.address
    finally:
        nodes.shutdown()
        if before is None:
            del os.environ["RAY_TMPDIR"]
        else:
            os.environ["RAY_TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


def node_settings(cpus: int) -> dict[str, Any]:
    """What a node with so many CPUs, and the GPUs of this machine, is started with.

    With the ports of its agents given, it does not wait for these to start, which takes many seconds on a busy machine.
    """
    import torch

    with ExitStack() as held:
        free = [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in _AGENT_PORTS]
    ports = dict(zip(_AGENT_PORTS, free, strict=True))
    sizes = {"num_cpus": cpus, "num_gpus": torch.cuda.device_count(), "object_store_memory": _OBJECT_STORE_BYTES}
    return {**sizes, "include_dashboard": False, **ports}


def _require_listener(address: str) -> None:
    """Refuse an address "host:port" where nothing listens, which Ray would try for a minute."""
    host, colon, port = address.rpartition(":")
    if not colon or "//" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"No Ray cluster can be reached at {address} ({error}); `ray start --head` starts one and says its address."
        ) from error


def _probe(marker: str) -> str:
    """What a machine of the cluster says of itself, as JSON."""
    return json.dumps({"sees": Path(marker).exists(), "versions": software_versions(PACKAGES)})


def _require_same_machines(ray: Any, folder: Path) -> None:
    """Refuse a cluster on whose machines the same seed might give other numbers, or a checkpoint would be lost.

    Raises:
        ValueError: if a machine does not see the folder, or has no such code or other versions.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    marker = folder / f".shared-{uuid.uuid4().hex}"
    marker.touch()
    try:
        probe = ray.remote(_probe)
        asked = {
            probe.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(id, soft=False)).remote(
                str(marker)
            ): host
            for id, host in nodes.items()
        }
        own = software_versions(PACKAGES)
        for reference, host in asked.items():
            try:
                said = json.loads(ray.get(reference, timeout=_SECONDS_FOR_PROBES))
            except ray.exceptions.RayError as failure:
                raise ValueError(
                    f"The machine {host} of the cluster cannot begin ({_brief(failure)}); all need the checkout in "
                    f"{_ROOT} and the same environment, at the same places."
                ) from failure
            if not said["sees"]:
                raise ValueError(
                    f"The machine {host} of the cluster does not see {folder}; --out must lie on a file system that "
                    "all of them share."
                )
            for name, version in own.items():
                if said["versions"].get(name) != version:
                    raise ValueError(
                        f"The machine {host} of the cluster has {name} {said['versions'].get(name)}, and this one "
                        f"{version}; with different versions the same seed gives different numbers, so install the "
                        "same ones."
                    )
    finally:
        marker.unlink(missing_ok=True)


def _brief(error: BaseException) -> str:
    """The last line of what an error says, where Ray quotes what a worker raised, within 300 characters."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).strip().rstrip(".")[:300]
