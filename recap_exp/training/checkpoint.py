"""Checkpoints of a run: complete or not there, whenever the process dies.

    FOLDER/step_00000100/meta.json     step, data position, early stopping, what the caller adds
                         random.json   states of the random generators
                         state/        weights and Adam's moments, by torch.distributed.checkpoint
    FOLDER/best                        link to the best one

A checkpoint is written under a hidden name, flushed to the disk and then renamed. Nothing in it can run code when it is read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from recap_exp.errors import CheckpointError
from recap_exp.model.base import Learned
from recap_exp.training import processes
from recap_exp.training.optimizer import Optimizer
from recap_exp.training.tensors import are_spread, check_match, fill, read_tensors, read_weights, tensor_shapes, write_tensors

FORMAT = "recap_exp checkpoint 1"
MODEL = "model/"
UNFINISHED = ".unfinished_"
BEST = "best"


@dataclass(kw_only=True)
class TrainState:
    """Where a run stands, weights and moments apart."""

    step: int = 0
    """Updates made."""
    micro_batches: int = 0
    """Data position: batches taken from the training data."""
    early_stopping: dict[str, Any] | None = None
    window: list[list[float]] = field(default_factory=list)
    """Losses since the last log point, so that a resumed run logs what an uninterrupted one would."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the fp16 loss scaler."""
    random: dict[str, Any] = field(default_factory=dict)
    """States of the random generators."""


class Checkpoints:
    """The checkpoints of one run, in one folder, which only the training process writes to: of several the first, all call.

    Of tensors that are spread over processes each writes what it has.
    """

    def __init__(self, folder: Path, keep: int = 2, extra: Callable[[], Mapping[str, Any]] = dict) -> None:
        """keep: the newest so many stay, and the best. extra: asked at every save for what meta.json tells of the run besides; JSON."""
        self.folder, self.keep, self.extra = Path(folder), keep, extra

    def save(self, ranker: Learned, optimizer: Optimizer | None, state: TrainState) -> Path:
        """Stores everything at `state.step` (a baseline has no optimizer), then drops the checkpoints that are neither new nor best."""
        path = self.path(state.step)
        tensors = _live_tensors(ranker, optimizer) if optimizer else _live_weights(ranker)
        together = are_spread(tensors)
        if not processes.first() and not together:
            return path
        unfinished = self.folder / f"{UNFINISHED}{path.name}"
        if processes.first():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.sweep()
            unfinished.mkdir()
        if together:
            processes.broadcast()  # the folder is there
        write_tensors(unfinished / "state", tensors)
        if not processes.first():
            return path
        stored = asdict(state)
        _write_json(unfinished / "random.json", stored.pop("random"))
        _write_json(unfinished / "meta.json", {"format": FORMAT, **stored, "extra": dict(self.extra())})
        _flush_folder(unfinished)
        if path.exists():
            self._drop(path)
        unfinished.rename(path)
        _flush_folder(self.folder)
        self._rotate()
        return path

    def path(self, step: int) -> Path:
        """Where the checkpoint of `step` lies, if it does."""
        return self.folder / f"step_{step:08d}"

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(p for p in self.folder.glob("step_*") if (p / "meta.json").is_file())

    def newest(self) -> Path | None:
        """The complete checkpoint of the highest step."""
        return (self.all() or [None])[-1]  # type: ignore[list-item]

    def best(self) -> Path | None:
        """The checkpoint marked as best."""
        link = self.folder / BEST
        return link.resolve() if link.exists() else None

    def mark_best(self, step: int) -> None:
        """From now on the checkpoint of `step` is the best; the one before loses its protection from rotation."""
        if not processes.first():
            return
        path = self.path(step)
        if not path.is_dir():
            raise CheckpointError(f"{path}: no such checkpoint to mark as best")
        link = self.folder / f"{UNFINISHED}{BEST}"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.rename(self.folder / BEST)
        self._rotate()

    def _rotate(self) -> None:
        best = self.best()
        for path in self.all()[: -self.keep]:
            if path.resolve() != best:
                self._drop(path)

    def _drop(self, path: Path) -> None:
        """Renamed before it is deleted: nothing half-deleted under a final name."""
        doomed = path.with_name(f"{UNFINISHED}dropped_{path.name}")
        path.rename(doomed)
        shutil.rmtree(doomed)

    def sweep(self) -> None:
        """Deletes what a killed process left unfinished."""
        for path in self.folder.glob(f"{UNFINISHED}*") if processes.first() else ():
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path)


def find_checkpoint(path: Path) -> Path:
    """`path` itself if it is a checkpoint; the best, else the newest one in it if it is the folder of a run's checkpoints."""
    path = Path(path)
    if (path / "meta.json").is_file():
        return path
    inside = Checkpoints(path)
    if found := inside.best() or inside.newest():
        return found
    raise CheckpointError(f"{path}: {'holds no complete checkpoint' if path.is_dir() else 'no such checkpoint'}")


def read_meta(path: Path) -> dict[str, Any]:
    """meta.json of a checkpoint: the fields of TrainState but `random`, and `extra`."""
    meta = _read_json(path / "meta.json")
    if meta.get("format") != FORMAT:
        raise CheckpointError(f"{path / 'meta.json'}: not a checkpoint of this program (format {meta.get('format')!r}, not {FORMAT!r})")
    return meta


def resume(path: Path, ranker: Learned, optimizer: Optimizer) -> TrainState:
    """Weights, moments, schedules and state of the checkpoint, as they were: training goes on as if it had never stopped."""
    meta = read_meta(path)
    random = _read_json(path / "random.json")
    _load(path, _live_tensors(ranker, optimizer))
    optimizer.updates = meta["step"]
    fields = {name: meta[name] for name in ("step", "micro_batches", "early_stopping", "window", "scaler")}
    return TrainState(**fields, random=random)


def load_weights(path: Path, ranker: Learned) -> None:
    """Weights alone, of a checkpoint (moments are not read) or of a .safetensors or .npz file with the ranker's own names."""
    if path.suffix in (".safetensors", ".npz"):
        _load_file(path, ranker)
    else:
        read_meta(path)
        ranker.make_room(_of_kind(tensor_shapes(path / "state"), MODEL))
        _load(path, _live_weights(ranker))


def warm_start(source: Path, ranker: Learned, optimizer: Optimizer) -> None:
    """Another run's weights and Adam's moments as a beginning, schedules at step 0; from a weights file the weights alone."""
    if source.suffix in (".safetensors", ".npz"):
        load_weights(source, ranker)
    else:
        path = find_checkpoint(source)
        read_meta(path)
        _load(path, _live_tensors(ranker, optimizer))
    optimizer.updates = 0


def _live_weights(ranker: Learned) -> dict[str, Tensor]:
    return {MODEL + name: tensor.detach() for name, tensor in ranker.state_dict().items()}


def _live_tensors(ranker: Learned, optimizer: Optimizer) -> dict[str, Tensor]:
    names = {parameter: name for name, parameter in ranker.named_parameters()}
    return _live_weights(ranker) | {f"{optimizer.prefix}/{name}": tensor for name, tensor in optimizer.tensors(names).items()}


def _load(path: Path, live: dict[str, Tensor]) -> None:
    """Reads the stored tensors into the live ones, in place, once it is known that they match."""
    stored = tensor_shapes(path / "state")
    for kind in dict.fromkeys(f"{name.split('/')[0]}/" for name in live):
        check_match(path, _of_kind(stored, kind), _of_kind(_shapes(live), kind))
    read_tensors(path / "state", live)


def _load_file(path: Path, ranker: Learned) -> None:
    stored = read_weights(path)
    ranker.make_room(_shapes(stored))
    live = ranker.state_dict()
    check_match(path, _shapes(stored), _shapes(live))
    for name, tensor in live.items():
        fill(tensor, stored[name])


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _of_kind(shapes: Mapping[str, tuple[int, ...]], kind: str) -> dict[str, tuple[int, ...]]:
    return {name.removeprefix(kind): shape for name, shape in shapes.items() if name.startswith(kind)}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with open(path, "w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: unreadable ({error})") from error


def _flush_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
