"""`tf.Example` on the wire, without TensorFlow: records to columns.

Almost every writer packs a feature's values into one run and stores each feature once. Such records are read by walking their few
length prefixes and viewing the runs with NumPy. Anything else that is legal goes through google.protobuf.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import numpy as np

from recap_exp.data.schema import DTYPES, TRUTH, BlockKind, Columns, Schema
from recap_exp.errors import DataError

BYTES, FLOAT, INT = 0x0A, 0x12, 0x1A
"""Tags of the three kinds of value list within a Feature."""

KIND_NAMES = {BYTES: "bytes", FLOAT: "float", INT: "int64"}

BLOCK_WIRE: dict[BlockKind, int] = {"continuous": FLOAT, "embedding": FLOAT, "binary": INT, "discrete": INT}
"""How each kind of block is stored, as in the original's files."""

Values = np.ndarray | list[int] | list[bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One feature of the record that a schema wants, and where its values go."""

    key: str
    wires: tuple[int, ...]
    """Kinds allowed."""
    count: int
    """Values per record."""
    use: int
    block: str | None = None
    """Block it belongs to; None for a scalar."""
    offset: int = 0
    """Its first column within the block."""


def fields(schema: Schema) -> dict[bytes, list[Field]]:
    """The features to read, by their stored name in UTF-8. A block is one feature of its width, or one feature a column."""
    wanted: list[Field] = []
    for name, block in schema.blocks.items():
        count = 1 if len(block.columns) > 1 else block.width
        for i, key in enumerate(block.columns):
            if (use := min(count, block.use - i * count)) > 0:
                wanted.append(Field(key=key, wires=(BLOCK_WIRE[block.kind],), count=count, use=use, block=name, offset=i))
    wanted += [_scalar(key, INT) for key in schema.ids.values()]
    wanted += [_scalar(key, INT, FLOAT) for key in schema.labels]
    wanted += [_scalar(TRUTH + key, FLOAT) for key in schema.truths]
    wanted += [_scalar(key, INT, FLOAT, BYTES) for key in schema.extras.values()]
    by_key: dict[bytes, list[Field]] = {}
    for field in wanted:
        by_key.setdefault(field.key.encode(), []).append(field)
    return by_key


def _scalar(key: str, *wires: int) -> Field:
    return Field(key=key, wires=wires, count=1, use=1)


class Decoder:
    """Records to Columns for one schema. A feature that a record lacks is 0 (NaN or None in truths and extras); a label is an error."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.wanted = fields(schema)

    def __call__(self, records: Iterable[bytes], rows: int, file: str, first: int) -> Columns:
        """Up to `rows` records, the first of which is record number `first` of the file. Each is decoded as soon as it comes, while it
        is in the processor's cache.

        Raises DataError naming file, record and feature where a record is no tf.Example, or a feature has the wrong type or length.
        """
        blocks = {name: np.zeros((rows, b.use), DTYPES[b.kind]) for name, b in self.schema.blocks.items()}
        scalars: dict[str, list[Any]] = {f.key: [None] * rows for fs in self.wanted.values() for f in fs if f.block is None}
        n = 0
        for row, record in enumerate(islice(records, rows)):
            n = row + 1
            try:
                for key, wire, values in _read(record, self.wanted):
                    for field in self.wanted[key]:
                        _check(field, wire, values)
                        if field.block is None:
                            scalars[field.key][row] = values[0]
                        else:
                            blocks[field.block][row, field.offset : field.offset + field.use] = values[: field.use]
            except ValueError as error:
                raise DataError(f"{file}: record {first + row}: {error}") from error
        blocks = {name: array[:n] for name, array in blocks.items()}
        scalars = {key: values[:n] for key, values in scalars.items()}
        return self._columns(blocks, scalars, file, np.arange(first, first + n))

    def _columns(self, blocks: dict[str, np.ndarray], scalars: dict[str, list[Any]], file: str, records: np.ndarray) -> Columns:
        for label in self.schema.labels:
            if None in scalars[label]:
                raise DataError(f"{file}: record {records[scalars[label].index(None)]}: label {label} is absent")
        return Columns(
            blocks=blocks,
            ids={name: np.array([v or 0 for v in scalars[key]], np.int64) for name, key in self.schema.ids.items()},
            labels={label: np.array(scalars[label]) for label in self.schema.labels},
            truths={label: np.array(scalars[TRUTH + label], np.float64) for label in self.schema.truths},
            extras={name: _extra(scalars[key]) for name, key in self.schema.extras.items()},
            file=file,
            records=records,
        )


def _extra(values: list[Any]) -> np.ndarray:
    """Numbers with NaN for absent ones, or str objects with None for absent ones."""
    known = [v for v in values if v is not None]
    if known and not any(isinstance(v, bytes) for v in known):
        return np.array(values, np.float64 if len(known) < len(values) else None)
    return np.array([v.decode(errors="replace") if isinstance(v, bytes) else v for v in values], dtype=object)


def _check(field: Field, wire: int, values: Values) -> None:
    if wire not in field.wires:
        wanted = " or ".join(KIND_NAMES[w] for w in field.wires)
        raise ValueError(f"feature {field.key} holds {KIND_NAMES[wire]} values, wanted {wanted}")
    if len(values) != field.count:
        raise ValueError(f"feature {field.key} has {len(values)} values, wanted {field.count}")


def _read(record: bytes, wanted: dict[bytes, list[Field]]) -> list[tuple[bytes, int, Values]]:
    """Key, kind and values of the wanted features that the record has."""
    try:
        found = _read_plain(record, wanted)
    except IndexError:
        found = None
    return _read_any(record, wanted) if found is None else found


def _read_plain(record: bytes, wanted: dict[bytes, list[Field]]) -> list[tuple[bytes, int, Values]] | None:
    """As `_read`, for the form that writers use; None (or IndexError) for another.

    Example: 0A len (0A len entry)*; entry: 0A len key, 12 len feature; feature: kind len list; list: 0A len values, packed.
    """
    size, pos = _varint(record, 1)
    end = len(record)
    if record[0] != 0x0A or pos + size != end:
        return None
    found: list[tuple[bytes, int, Values]] = []
    while pos < end:
        entry_tag = record[pos]
        size, pos = _varint(record, pos + 1)
        stop = pos + size
        key_stop = pos + 2 + record[pos + 1]
        if entry_tag != 0x0A or record[pos] != 0x0A or record[pos + 1] > 0x7F or stop > end:
            return None
        key = record[pos + 2 : key_stop]
        if key in wanted:
            size, pos = _varint(record, key_stop + 1)
            if record[key_stop] != 0x12 or pos + size != stop:
                return None
            wire = record[pos]
            size, pos = _varint(record, pos + 1)
            if pos + size != stop or record[pos] != 0x0A:
                return None
            size, pos = _varint(record, pos + 1)
            if pos + size != stop:
                return None
            if wire == FLOAT and size % 4 == 0:
                found.append((key, wire, np.frombuffer(record, "<f4", size // 4, pos)))
            elif wire == INT and 0 < size <= 10 and (number := _varint(record, pos))[1] == stop:
                found.append((key, wire, [number[0] if number[0] < 2**63 else number[0] - 2**64]))
            elif wire == INT and (values := unpack_varints(record[pos:stop])) is not None:
                found.append((key, wire, values))
            elif wire == BYTES:
                found.append((key, wire, [record[pos:stop]]))
            else:
                return None
        pos = stop
    return found if pos == end else None


def feature_names(record: bytes) -> list[str]:
    """The features that a record has, sorted. Raises ValueError where it is no tf.Example."""
    return sorted(_parse(record))


def _parse(record: bytes) -> Mapping[str, Any]:
    from google.protobuf.message import DecodeError

    example = example_message()()
    try:
        example.ParseFromString(record)
    except DecodeError:
        raise ValueError("is no tf.Example") from None
    if record and not example.features.feature:
        raise ValueError("is no tf.Example, or has no features")
    return example.features.feature


def _read_any(record: bytes, wanted: dict[bytes, list[Field]]) -> list[tuple[bytes, int, Values]]:
    """As `_read`, for every legal encoding: unpacked lists, split runs, unknown fields, keys in any place."""
    features = _parse(record)
    found: list[tuple[bytes, int, Values]] = []
    for key in wanted:
        feature = features.get(key.decode())
        if feature is not None and (values := _values(feature)) is not None:
            found.append((key, *values))
    return found


def features_of(record: bytes) -> dict[str, Values]:
    """Every feature that has values, by name. Raises ValueError where the record is no tf.Example."""
    found = {name: _values(feature) for name, feature in _parse(record).items()}
    return {name: found[name][1] for name in sorted(found) if found[name] is not None}  # type: ignore[index]


def _values(feature: Any) -> tuple[int, Values] | None:
    """Kind and values; None where the feature has no kind."""
    match feature.WhichOneof("kind"):
        case "float_list":
            return FLOAT, np.array(feature.float_list.value, np.float32)
        case "int64_list":
            return INT, np.array(feature.int64_list.value, np.int64)
        case "bytes_list":
            return BYTES, list(feature.bytes_list.value)
    return None


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    """The varint at `pos`, and the position after it."""
    byte = data[pos]
    if byte < 0x80:
        return byte, pos + 1
    value, shift = byte & 0x7F, 7
    while True:
        pos += 1
        byte = data[pos]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, pos + 1
        shift += 7


def unpack_varints(run: bytes) -> np.ndarray | None:
    """All varints of a packed run, as int64; the bytes themselves where each is one value; None where the run is malformed."""
    data = np.frombuffer(run, np.uint8)
    if run.isascii():
        return data
    stops = np.flatnonzero(data < 0x80)
    if not len(stops) or stops[-1] != len(data) - 1:
        return None
    starts = np.concatenate(([0], stops[:-1] + 1))
    lengths = stops - starts + 1
    if lengths.max() > 10:
        return None
    shifts = 7 * (np.arange(len(data)) - np.repeat(starts, lengths))
    parts = (data & 0x7F).astype(np.uint64) << shifts.astype(np.uint64)
    return np.bitwise_or.reduceat(parts, starts).view(np.int64)


@cache
def example_message() -> type:
    """The message class of tf.Example: Example{1: Features{1: map<string, Feature>}}, Feature oneof bytes, float, int64 list."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    proto = descriptor_pb2.FileDescriptorProto(name="example.proto", package="recap_exp.example", syntax="proto3")
    types = descriptor_pb2.FieldDescriptorProto

    def message(name: str, *members: tuple[str, int, int, bool, str | None]) -> descriptor_pb2.DescriptorProto:
        made = proto.message_type.add(name=name)
        for field_name, number, kind, repeated, type_name in members:
            label = types.LABEL_REPEATED if repeated else types.LABEL_OPTIONAL
            made.field.add(name=field_name, number=number, type=kind, label=label, type_name=type_name)  # type: ignore[arg-type]
        return made

    package = ".recap_exp.example."
    message("BytesList", ("value", 1, types.TYPE_BYTES, True, None))
    message("FloatList", ("value", 1, types.TYPE_FLOAT, True, None))
    message("Int64List", ("value", 1, types.TYPE_INT64, True, None))
    lists = (("bytes_list", 1, "BytesList"), ("float_list", 2, "FloatList"), ("int64_list", 3, "Int64List"))
    feature = message("Feature", *((name, number, types.TYPE_MESSAGE, False, package + kind) for name, number, kind in lists))
    feature.oneof_decl.add(name="kind")
    for member in feature.field:
        member.oneof_index = 0
    features = message("Features", ("feature", 1, types.TYPE_MESSAGE, True, package + "Features.FeatureEntry"))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.field.add(name="key", number=1, type=types.TYPE_STRING, label=types.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=types.TYPE_MESSAGE, label=types.LABEL_OPTIONAL, type_name=package + "Feature")
    entry.options.map_entry = True
    message("Example", ("features", 1, types.TYPE_MESSAGE, False, package + "Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("recap_exp.example.Example"))
