"""Named tensors on disk: torch.distributed.checkpoint in a folder, safetensors or NumPy in a file. Reading never runs stored code."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from recap_exp.errors import CheckpointError, first_line

if TYPE_CHECKING:
    from torch.distributed.checkpoint.api import CheckpointException

_SAFE = {
    "torch.distributed.checkpoint.metadata": {
        "Metadata",
        "MetadataIndex",
        "TensorStorageMetadata",
        "ChunkStorageMetadata",
        "BytesStorageMetadata",
        "TensorProperties",
        "StorageMeta",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size", *(str(v).removeprefix("torch.") for v in vars(torch).values() if isinstance(v, torch.dtype))},
    "pathlib": {"PosixPath", "WindowsPath"},
}
"""Every name that the index of a folder of tensors may refer to."""


def _member(enumeration: Any, name: str) -> Any:
    """What `getattr` may do in an index: name a member of an enumeration, as Python before 3.11.4 stores one."""
    if not (isinstance(enumeration, type) and issubclass(enumeration, Enum) and name in enumeration.__members__):
        raise pickle.UnpicklingError(f"refers to {name} of {enumeration}")
    return enumeration[name]


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _member
        if name not in _SAFE.get(module, ()):
            raise pickle.UnpicklingError(f"refers to {module}.{name}")
        return super().find_class(module, name)


def are_spread(tensors: Mapping[str, Tensor]) -> bool:
    """Whether parts of them lie on other processes."""
    return any(_is_sharded(tensor) for tensor in tensors.values()) and dist.get_world_size() > 1


def fill(into: Tensor, values: Tensor) -> None:
    """Copies values into a tensor, or into what lies here of a sharded one."""
    if not _is_sharded(into):
        into.copy_(values)
        return
    for shard in into.local_shards():  # type: ignore[attr-defined]
        first, sizes = shard.metadata.shard_offsets, shard.metadata.shard_sizes
        shard.tensor.copy_(values[tuple(slice(a, a + n) for a, n in zip(first, sizes, strict=True))])


def _is_sharded(tensor: Any) -> bool:
    return hasattr(tensor, "local_shards")


def write_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Stores tensors in a new folder and flushes them to the disk; where they are spread all processes do it together.

    Raises:
        CheckpointError: they can't be written.
    """
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            alone = not are_spread(tensors)
            dcp.save(dict(tensors), storage_writer=dcp.FileSystemWriter(folder, sync_files=True), no_dist=alone)
    except CheckpointException as error:
        raise _cause(error, f"{folder}: can't be written") from error


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a folder, without reading them.

    Raises:
        CheckpointError: the index is unreadable, or a file of the folder is missing or too short.
    """
    index = _read_index(folder)
    ends: dict[str, int] = {}
    for piece in index.storage_data.values():
        ends[piece.relative_path] = max(ends.get(piece.relative_path, 0), piece.offset + piece.length)
    for name, end in ends.items():
        file = folder / name
        size = file.stat().st_size if file.is_file() else None
        if size is None or size < end:
            raise CheckpointError(f"{file}: {'missing' if size is None else f'has {size} of {end} bytes'}; the checkpoint is damaged")
    return {name: tuple(entry.size) for name, entry in index.state_dict_metadata.items()}


def read_tensors(folder: Path, into: dict[str, Tensor]) -> None:
    """Reads stored tensors into tensors of the same names and shapes, in place, on whatever device they are.

    Of sharded ones what lies here, however they were spread when they were stored.
    """
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException

    class Reader(dcp.FileSystemReader):
        def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
            return _read_index(folder)

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            dcp.load(into, storage_reader=Reader(folder), no_dist=True)
    except CheckpointException as error:
        raise _cause(error, f"{folder}: damaged") from error


def _cause(error: CheckpointException, what: str) -> BaseException:
    """What torch wraps into an exception that is no Exception: Ctrl-C as itself, anything else as our error."""
    cause, _ = next(iter(error.failures.values()))
    return cause if isinstance(cause, KeyboardInterrupt) else CheckpointError(f"{what} ({first_line(cause)})")


def check_match(path: Path, stored: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raises one CheckpointError that tells of all missing, extra and differently shaped tensors."""
    lacking = [name for name in wanted if name not in stored]
    extra = [name for name in stored if name not in wanted]
    shapes = [f"{name} {list(stored[name])} for {list(wanted[name])}" for name in wanted if stored.get(name, wanted[name]) != wanted[name]]
    wrong = [
        f"{what} {_some(names)}" for what, names in (("lacks", lacking), ("has unknown", extra), ("has other shapes:", shapes)) if names
    ]
    if wrong:
        raise CheckpointError(f"{path}: of another model: {'; '.join(wrong)}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors or .npz file, by name."""
    try:
        if path.suffix == ".npz":
            import numpy as np

            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays}
        from safetensors.torch import load_file

        return load_file(path)
    except Exception as error:
        raise CheckpointError(f"{path}: unreadable ({first_line(error)})") from error


def _read_index(folder: Path) -> Any:
    path = folder / ".metadata"
    try:
        return _SafeUnpickler(io.BytesIO(path.read_bytes())).load()
    except Exception as error:
        raise CheckpointError(f"{path}: unreadable ({first_line(error)})") from error


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
