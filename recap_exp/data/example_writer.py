"""Columns to `tf.Example` records, as TensorFlow's reader takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from recap_exp.data.example import BLOCK_WIRE, BYTES, FLOAT, INT
from recap_exp.data.schema import TRUTH, Block, Columns, Schema
from recap_exp.errors import DataError

Entry = Callable[[int], bytes]
"""The feature of one row, encoded with its key; b"" where it is absent."""


def encode(columns: Columns, schema: Schema) -> Iterator[bytes]:
    """One record a row; every feature once, in the order of the keys, packed.

    Features and labels are written as int64 or float32, ids as int64, true probabilities as float32, strings as UTF-8. NaN truths and
    extras are left out. A label that is no whole number is written as it is: labels are judged where they are used.
    """
    entries: dict[str, Entry] = {}
    for name, block in schema.blocks.items():
        entries |= _block(name, block, columns.blocks[name])
    entries |= {key: _scalar(key, columns.ids[name], absent=False) for name, key in schema.ids.items()}
    entries |= {key: _scalar(key, columns.labels[key], absent=False) for key in schema.labels}
    entries |= {TRUTH + key: _floats(TRUTH + key, columns.truths[key][:, None], absent=True) for key in schema.truths}
    entries |= {key: _scalar(key, columns.extras[name], absent=True) for name, key in schema.extras.items()}
    ordered = [entries[key] for key in sorted(entries)]
    for row in range(len(columns)):
        body = b"".join([entry(row) for entry in ordered])
        yield b"\x0a" + pack_varint(len(body)) + body


def _block(name: str, block: Block, values: np.ndarray) -> dict[str, Entry]:
    if values.shape[1] != block.width:
        raise DataError(f"block {name}: {values.shape[1]} features were given, but records store all {block.width}")
    if BLOCK_WIRE[block.kind] == INT:
        whole = np.asarray(values)
        if whole.dtype.kind == "f":
            if not (np.isfinite(whole) & (whole == np.floor(whole))).all():
                raise DataError(f"block {name}: records store {block.kind} features as integers, and some values are none")
            whole = whole.astype(np.int64)
        make, values = _ints, whole
    else:
        make = _floats
    if len(block.columns) == 1:
        return {block.columns[0]: make(block.columns[0], values)}
    return {key: make(key, values[:, i : i + 1]) for i, key in enumerate(block.columns)}


def _floats(key: str, values: np.ndarray, absent: bool = False) -> Entry:
    stored = np.ascontiguousarray(values, dtype="<f4")
    prefix = _prefix(key, FLOAT, 4 * stored.shape[1])
    if absent:
        return lambda row: b"" if np.isnan(stored[row]).all() else prefix + stored[row].tobytes()
    return lambda row: prefix + stored[row].tobytes()


def _ints(key: str, values: np.ndarray) -> Entry:
    if values.size and values.min() >= 0 and values.max() < 0x80:
        small = np.ascontiguousarray(values, dtype=np.uint8)
        prefix = _prefix(key, INT, small.shape[1])
        return lambda row: prefix + small[row].tobytes()

    def entry(row: int) -> bytes:
        run = pack_varints(values[row])
        return _prefix(key, INT, len(run)) + run

    return entry


def _scalar(key: str, values: np.ndarray, absent: bool) -> Entry:
    """A number or string; with `absent`, None and NaN are left out."""
    if values.dtype.kind in "iub":
        return _ints(key, values.astype(np.int64)[:, None])

    def entry(row: int) -> bytes:
        value: Any = values[row]
        if absent and (value is None or value != value):
            return b""
        if isinstance(value, str | bytes):
            text = value.encode() if isinstance(value, str) else value
            return _prefix(key, BYTES, len(text)) + text
        if not isinstance(value, bool | int | np.integer | np.bool_) and not float(value).is_integer():
            return _prefix(key, FLOAT, 4) + np.float32(value).tobytes()
        run = pack_varint(int(value) % 2**64)
        return _prefix(key, INT, len(run)) + run

    return entry


@lru_cache(maxsize=4096)
def _prefix(key: str, wire: int, size: int) -> bytes:
    """Everything before the values of one feature: key, kind and the lengths of what nests around `size` bytes of values."""
    name = key.encode()
    values = b"\x0a" + pack_varint(size)
    feature = bytes((wire,)) + pack_varint(len(values) + size) + values
    entry = b"\x0a" + pack_varint(len(name)) + name + b"\x12" + pack_varint(len(feature) + size) + feature
    return b"\x0a" + pack_varint(len(entry) + size) + entry


def pack_varint(value: int) -> bytes:
    """A number from 0 to 2^64 - 1, seven bits a byte, lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def pack_varints(values: np.ndarray) -> bytes:
    """A packed run of int64 values (negative ones take ten bytes)."""
    bits = values.astype(np.int64).view(np.uint64)[:, None] >> (7 * np.arange(10, dtype=np.uint64))
    used = bits > 0
    used[:, 0] = True
    more = np.zeros_like(used)
    more[:, :-1] = used[:, 1:]
    return ((bits & np.uint64(0x7F)).astype(np.uint8) | (more * np.uint8(0x80)))[used].tobytes()
