"""GZIP TFRecord files: length-prefixed records, each with masked CRC32C checksums of its length and of its bytes.

Record on disk: length (uint64), masked CRC of the length (uint32), bytes, masked CRC of the bytes (uint32); little endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c
from isal import igzip, isal_zlib

from recap_exp.data.example import Decoder
from recap_exp.data.schema import Columns, Schema, chunk_rows
from recap_exp.errors import DataError

READ_BYTES = 64 * 1024
PIECE_BYTES = 128 * 1024
"""Compressed bytes read, and bytes inflated at most, at a time: so little that it stays in the processor's cache."""

GZIP_MAGIC = b"\x1f\x8b"

HEAD_BYTES = 12
"""Length and its checksum."""

GZIP_LEVEL = 1


def masked_crc(data: bytes) -> int:
    """CRC32C, rotated right by 15 bits, plus a constant: so that a checksum of data that holds checksums stays good."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _inflate(path: Path) -> Iterator[bytes]:
    """What the gzip file holds, piece by piece, up to the damage if there is any."""
    with open(path, "rb") as file:
        member = None
        while data := file.read(READ_BYTES):
            while data:
                if member is None:
                    if not GZIP_MAGIC.startswith(data[:2]):
                        raise DataError(f"{path}: is no gzip file, or has something else behind its end")
                    member = isal_zlib.decompressobj(wbits=31)
                yield member.decompress(data, PIECE_BYTES)
                data = member.unconsumed_tail
                if member.eof:
                    data, member = member.unused_data, None
        while member is not None:
            # The last input may have more to give than one piece.
            if not (piece := member.decompress(b"", PIECE_BYTES)):
                raise EOFError
            yield piece
            member = None if member.eof else member


def read_records(path: Path) -> Iterator[bytes]:
    """The records of one file, checksums verified. Raises DataError naming file and record number."""
    count = 0
    rest = b""
    needed = HEAD_BYTES
    try:
        for piece in _inflate(path):
            rest += piece
            pos, end = 0, len(rest)
            while pos + needed <= end:
                size, length_crc = struct.unpack_from("<QI", rest, pos)
                if masked_crc(rest[pos : pos + 8]) != length_crc:
                    raise DataError(f"{path}: record {count}: wrong checksum of the length: no TFRecord, or a damaged one")
                stop = pos + HEAD_BYTES + size
                if stop + 4 > end:
                    needed = stop + 4 - pos
                    break
                record = rest[pos + HEAD_BYTES : stop]
                if masked_crc(record) != int.from_bytes(rest[stop : stop + 4], "little"):
                    raise DataError(f"{path}: record {count}: wrong checksum: the record is damaged")
                yield record
                count += 1
                pos = stop + 4
                needed = HEAD_BYTES
            rest = rest[pos:]
    except EOFError:
        raise DataError(f"{path}: record {count}: the gzip file ends in the middle: it is truncated") from None
    except isal_zlib.IsalError as error:  # type: ignore[misc]
        raise DataError(f"{path}: record {count}: gzip data is corrupt here or within the next records ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: record {count}: can't be read ({error.strerror or error})") from None
    if rest:
        raise DataError(f"{path}: record {count}: the file ends in the middle of the record: it is truncated")


def read(path: Path, schema: Schema) -> Iterator[Columns]:
    """The file's rows, chunk by chunk; only what the schema names is decoded."""
    decode = Decoder(schema)
    rows = chunk_rows(schema)
    records = read_records(path)
    first = 0
    while len(columns := decode(records, rows, str(path), first)):
        yield columns
        first += len(columns)


class RecordWriter:
    """Writes records into one gzip member, without name and time: the same records give the same bytes."""

    def __init__(self, path: Path) -> None:
        self.file: BinaryIO = open(path, "wb")  # noqa: SIM115
        self.gzip = igzip.IGzipFile("", "wb", compresslevel=GZIP_LEVEL, fileobj=self.file, mtime=0)

    def write(self, record: bytes) -> None:
        """Appends one record."""
        length = struct.pack("<Q", len(record))
        frame = (length, struct.pack("<I", masked_crc(length)), record, struct.pack("<I", masked_crc(record)))
        self.gzip.write(b"".join(frame))

    def close(self) -> None:
        """Writes what is left, and the checksum of the gzip member."""
        self.gzip.close()
        self.file.close()
