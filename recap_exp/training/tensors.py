"""Named tensors on disk: torch.distributed.checkpoint in a folder, safetensors or NumPy in a file. Reading never runs stored code."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recap_exp.errors import CheckpointError, nearest

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


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _SAFE.get(module, ()):
            raise pickle.UnpicklingError(f"refers to {module}.{name}")
        return super().find_class(module, name)


def write_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Stores tensors in a new folder and flushes them to the disk."""
    import torch.distributed.checkpoint as dcp

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        dcp.save(dict(tensors), storage_writer=dcp.FileSystemWriter(folder, sync_files=True), no_dist=True)


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a folder, without reading them."""
    stored = _read_index(folder).state_dict_metadata
    return {name: tuple(entry.size) for name, entry in stored.items() if hasattr(entry, "size")}


def read_tensors(folder: Path, into: dict[str, Tensor]) -> None:
    """Reads stored tensors into tensors of the same names and shapes, in place, on whatever device they are."""
    import torch.distributed.checkpoint as dcp

    class Reader(dcp.FileSystemReader):
        def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
            return _read_index(folder)

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            dcp.load(into, storage_reader=Reader(folder), no_dist=True)
    except Exception as error:
        cause = error.__cause__ or error
        raise CheckpointError(f"{folder}: damaged or incomplete ({_first_line(cause)})") from error


def check_match(path: Path, stored: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raises one CheckpointError that lists every missing, extra or differently shaped tensor."""
    wrong = [f"lacks {name}{nearest(name, stored.keys() - wanted.keys())}" for name in wanted if name not in stored]
    wrong += [f"has {name}, which the model lacks" for name in stored if name not in wanted]
    wrong += [
        f"{name} is {list(stored[name])}, not {list(shape)}" for name, shape in wanted.items() if name in stored and stored[name] != shape
    ]
    if wrong:
        shown = "; ".join(wrong[:8]) + (f"; and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise CheckpointError(f"{path}: of another model: {shown}")


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
        raise CheckpointError(f"{path}: unreadable ({_first_line(error)})") from error


def _read_index(folder: Path) -> Any:
    path = folder / ".metadata"
    try:
        return _SafeUnpickler(io.BytesIO(path.read_bytes())).load()
    except Exception as error:
        raise CheckpointError(f"{path}: unreadable ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
