"""The database in which a graph is prepared: in bounded memory, what exceeds it in files beside the graph; gone when that is done.

Tables:
    raw     split, place, lhs, rel, rhs [, time]   as read; lhs and rhs are ids or rows
    edges   split, place, lhs, rel, rhs            rows of tables
`place` says where an edge was read: number of the file << 40 | number of the record. Edges of a split are written in its order.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa

from recap_exp.errors import DataError, first_line

MEMORY = "1GB"
"""That the database may hold."""
FILE_BITS = 40
"""Records of one file are numbered below 2 ** 40."""


class Workshop:
    """One DuckDB database, and the folder for what it spills, removed at the block's end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        """By the number that `place` holds."""
        self.record = "record"
        """What a record is called, and from where it counts, as in "record 0" or "line 1"."""
        self.first = 0

    def __enter__(self) -> Workshop:
        self.folder.mkdir()
        self.db = duckdb.connect(
            ":memory:",
            config={"memory_limit": MEMORY, "temp_directory": str(self.folder / "spilt"), "preserve_insertion_order": True},
        )
        self.db.execute("SET enable_progress_bar = false")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.db.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def insert(self, table: str, batches: Iterator[pa.RecordBatch]) -> None:
        """Appends a stream to a table, which its first batch makes where there is none. Errors of the stream are raised as they are."""
        failed: list[BaseException] = []

        def guarded() -> Iterator[pa.RecordBatch]:
            try:
                yield from batches
            except BaseException as error:  # DuckDB would make a text of it
                failed.append(error)
                raise

        stream = guarded()
        first = next(stream, None)
        if first is None:
            return

        def whole() -> Iterator[pa.RecordBatch]:
            yield first
            yield from stream

        stream_of_batches = pa.RecordBatchReader.from_batches(first.schema, whole())
        self.db.register("stream_of_batches", stream_of_batches)
        try:
            if not self.has(table):
                self.db.from_arrow(first.schema.empty_table()).create(table)
            self.db.execute(f"INSERT INTO {table} SELECT * FROM stream_of_batches")
        except duckdb.Error as error:
            if failed:
                raise failed[0] from None
            raise DataError(f"{self.folder}: {first_line(error)}") from error
        finally:
            self.db.unregister("stream_of_batches")

    def has(self, table: str) -> bool:
        """Whether there is such a table."""
        return bool(self.one("SELECT count(*) FROM duckdb_tables() WHERE table_name = ?", [table])[0])

    def columns(self, table: str) -> dict[str, str]:
        """The types of a table's columns, as DuckDB calls them."""
        return dict(self.all("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?", [table]))

    def run(self, statement: str, values: list[Any] | None = None) -> None:
        """Executes a statement. A disk that is full is a DataError."""
        try:
            self.db.execute(statement, values)
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise DataError(f"{self.folder}: {first_line(error)}") from error

    def one(self, query: str, values: list[Any] | None = None) -> tuple[Any, ...]:
        """The first row of a query that has one."""
        found = self.first_of(query, values)
        assert found is not None
        return found

    def first_of(self, query: str, values: list[Any] | None = None) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        return next(iter(self.all(query, values)), None)

    def all(self, query: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self.db.execute(query, values).fetchall()

    def stream(self, query: str, rows: int = 2**17) -> pa.RecordBatchReader:
        """The rows of a query, some at a time."""
        return self.db.sql(query).to_arrow_reader(rows)

    def number(self, file: Path) -> int:
        """The number of a file that `place` holds."""
        if file not in self.files:
            self.files.append(file)
        return self.files.index(file)

    def place(self, at: int) -> str:
        """Where an edge was read."""
        return f"{self.files[at >> FILE_BITS]}: {self.record} {(at & (1 << FILE_BITS) - 1) + self.first}"
