"""Processes that train together as one: how they start, meet, agree and end.

The first process is the user's own. It alone makes the run, records it, prints and evaluates; the others do its work beside it, on
their share of every batch, and are silent. Whichever fails, all end, and the first error is told by the first process. What one tells
the others goes through a store (torch.distributed.Store), where they look for it as long as it takes; only tensors pass by gloo or NCCL.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from recap_exp.errors import ConfigError, RecapError, first_line
from recap_exp.training import torchrun
from recap_exp.training.config import TrainerConfig
from recap_exp.training.seeds import choose_device

WORK, ERROR = "work", "error"
"""Keys of the store: what the others are to do, and the first error of any process."""
LOOK_S = 0.02
"""Between two looks at the store."""
ENDING_S = 10.0
"""How long a process has to end where another has failed."""

Others = Sequence["subprocess.Popen[bytes]"]


@dataclass
class _Group:
    store: dist.Store
    rank: int
    count: int
    told: int = 0
    """Values that the first process has told the others so far."""


_group: _Group | None = None
"""The group that this process is in, as torch.distributed has one default group."""


def count() -> int:
    """Processes that train together; 1 outside `joined`."""
    return _group.count if _group else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return _group.rank if _group else 0


def first() -> bool:
    """Whether this is the process that records and prints."""
    return rank() == 0


def broadcast(value: Any = None) -> Any:
    """What the first process gives, in every process. The others wait for it as long as it takes; all must come by here."""
    if _group is None:
        return value
    _group.told += 1
    key = f"told/{_group.told}"
    if first():
        _group.store.set(key, pickle.dumps(value))  # type: ignore[arg-type]  # bytes are taken too
        return value
    _await(_group.store, [key])
    return pickle.loads(_group.store.get(key))


class _Averaged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        mean = share.detach().clone()
        dist.all_reduce(mean)
        return mean.div_(count())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def averaged(share: Tensor) -> Tensor:
    """The mean over the processes of what each has of a loss, the same in all of them; of one process, itself.

    The gradient is that of the own share alone: with `average_gradients` after the backward pass it becomes that of the mean.
    """
    return share if _group is None else _Averaged.apply(share)  # type: ignore[no-any-return]


def average_gradients(parameters: Iterable[Parameter]) -> None:
    """Every gradient becomes its mean over the processes: the gradient of the whole batch's mean loss, equal in all of them."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if _group is None or not gradients:
        return
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= count()
    parts = flat.split([g.numel() for g in gradients])
    torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])


@contextmanager
def joined(cfg: TrainerConfig, work: Callable[..., None], *given: Any) -> Iterator[None]:
    """A block in which cfg.processes of them are a group, entered by the first process; each of the others calls work(*given).

    Those are started here, or are there already under torchrun; with cfg.processes=1 there are none. `work` is a function of a module,
    `given` can be pickled.

    Raises:
        ConfigError: fewer GPUs than processes.
        RecapError: another process failed or was killed.
    """
    if cfg.processes == 1:
        yield
        return
    device = choose_device(cfg)
    here = torchrun.local_world_size() if torchrun.world_size() > 1 else cfg.processes
    if device.type == "cuda" and torch.cuda.device_count() < here:
        raise ConfigError(f"trainer.processes={here}: each needs a GPU, and there are {torch.cuda.device_count()}; or trainer.device=cpu")
    with _beside(cfg.processes) as (store, others):
        try:
            store.set(WORK, pickle.dumps((cfg, work, given)))  # type: ignore[arg-type]
            _await(store, [f"ready/{rank}" for rank in range(1, cfg.processes)], others)
            with _connected(store, 0, cfg.processes, device):
                yield
            _leave(store, others)
        except Exception as error:
            cause = _cause(store, others) if _is_broken(error) else ""
            store.compare_set(ERROR, "", cause or first_line(error))  # now those that still run know that it has been told
            if cause:
                raise RecapError(cause) from error
            raise


def accompany(store: dist.Store, rank: int, count: int) -> None:
    """What every other process does, from its start to its end: the work that the first one hands out."""
    try:
        _await(store, [WORK])
        cfg, work, given = pickle.loads(store.get(WORK))
        device = choose_device(cfg)
        if device.type == "cuda":
            torch.cuda.set_device(torchrun.local_rank())
        store.set(f"ready/{rank}", "")
        with _connected(store, rank, count, device):
            work(*given)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        _fail(store, rank, error)


def accompany_torchrun() -> None:
    """`accompany` in a process that torchrun has started."""
    store, rank, count = next(iter(dist.rendezvous("env://")))
    accompany(store, rank, count)


@contextmanager
def group(device: torch.device) -> Iterator[None]:
    """torch.distributed's default group, which torchrec's sharding wants of one process too: of this one alone where there is none yet."""
    if dist.is_initialized():
        yield
        return
    dist.init_process_group(_backend(device), store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def _connected(store: dist.Store, rank: int, count: int, device: torch.device) -> Iterator[None]:
    global _group
    dist.init_process_group(_backend(device), store=dist.PrefixStore("group", store), rank=rank, world_size=count)
    _group = _Group(store, rank, count)
    try:
        yield
    finally:
        _group = None
        dist.destroy_process_group()


def _backend(device: torch.device) -> str:
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"


@contextmanager
def _beside(count: int) -> Iterator[tuple[dist.Store, Others]]:
    """The other processes and the store in which all meet. Those that were started here are gone when the block ends."""
    if torchrun.world_size() > 1:
        store, _, _ = next(iter(dist.rendezvous("env://")))
        yield store, []  # torchrun ends them
        return
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine: no name to resolve, no firewall on the way
    first_gpu = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
    with TemporaryDirectory(prefix="recap_exp_") as folder, ExitStack() as ending:
        file = f"{folder}/store"
        others = []
        for rank in range(1, count):
            others.append(
                subprocess.Popen(
                    [sys.executable, "-m", "recap_exp.training.companion", file, str(rank), str(count)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, "LOCAL_RANK": str(first_gpu + rank)},
                    process_group=0,  # Ctrl-C is the first process's
                )
            )
            ending.callback(_end, others[-1])
        yield dist.FileStore(file, count), others


def _end(other: subprocess.Popen[bytes]) -> None:
    """Closes its standard input, at which it ends at once."""
    assert other.stdin
    other.stdin.close()
    try:
        other.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        other.kill()
        other.wait()


def _await(store: dist.Store, keys: list[str], others: Others = ()) -> None:
    """Until the store has all keys. It is looked at rather than waited for: that may take hours, in which Ctrl-C must be heard."""
    while not store.check(keys):
        if any(other.poll() is not None for other in others):
            raise RecapError(_cause(store, others))
        time.sleep(LOOK_S)


def _leave(store: dist.Store, others: Others) -> None:
    """Waits for the others, which have nothing to do any more but to leave."""
    if any([other.wait() for other in others]):
        raise RecapError(_cause(store, others))


def _is_broken(error: Exception) -> bool:
    """Whether it only says that another process is not there any more. gloo has no exception of its own."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "/gloo/" in str(error))


def _cause(store: dist.Store, others: Others) -> str:
    """Why others are gone, in a line: killed, or what the first of them that failed has told."""
    until = time.monotonic() + ENDING_S
    while time.monotonic() < until and others and all(other.poll() is None for other in others):
        time.sleep(LOOK_S)
    codes = {rank: other.poll() for rank, other in enumerate(others, 1)}
    for rank, code in codes.items():
        if code is not None and code < 0:
            return _ended(rank, code)
    if store.check([ERROR]):
        return store.get(ERROR).decode()
    return next((_ended(rank, code) for rank, code in codes.items() if code), "another process of the run does not answer any more")


def _ended(rank: int, code: int) -> str:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"process of rank {rank} {how}"


def _fail(store: dist.Store, rank: int, error: Exception) -> NoReturn:
    """Leaves the error to the first process to tell, unless it is only what another's end has caused."""
    if not _is_broken(error):
        if isinstance(error, RecapError):
            said = str(error)
        else:
            traceback.print_exception(error)
            said = f"{type(error).__name__}: {first_line(error)}"
        store.compare_set(ERROR, "", f"process of rank {rank}: {said}")
    sys.exit(1)
