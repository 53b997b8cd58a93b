"""Text triples: a line an edge, of nodes of one type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from recap_exp.data.files import expand
from recap_exp.data.graph.config import ENTITY, EdgeFiles, GraphConfig, RelationConfig, TriplesSource, entity_types
from recap_exp.data.graph.raw import Read, located, part, raw_batch
from recap_exp.data.graph.workshop import Workshop
from recap_exp.errors import DataError, first_line, nearest

PACKAGE = "package:"
"""How a folder begins that is inside an installed package."""


def read_triples(shop: Workshop, cfg: GraphConfig, source: TriplesSource) -> Read:
    """Puts the triples of all splits into `raw`. Relations are those of the first split, in sorted order.

    Raises DataError naming file, line and value.
    """
    shop.record, shop.first = "line", 1
    lines = {split: _lines(shop, source, files) for split, files in source.splits.items()}
    first = next(iter(lines))
    relations = sorted({name for batch in lines[first]() for name in pc.unique(batch.column("rel")).to_pylist()})

    def raw(number: int, batch: pa.RecordBatch) -> pa.RecordBatch:
        rel = pc.index_in(batch.column("rel"), pa.array(relations, pa.string()))
        if rel.null_count:
            i = int(np.argmax(rel.is_null().to_numpy(zero_copy_only=False)))
            word = batch.column("rel")[i].as_py()
            way = f"relations are read off split '{first}', which has none of that name{nearest(word, relations)}"
            raise DataError(
                f"{shop.place(batch.column('place')[i].as_py())}: relation {word!r}: {way}; leave the edge out, or move one of it there"
            )
        at, lhs, rhs = (batch.column(name) for name in ("place", "lhs", "rhs"))
        return raw_batch(number, at.to_numpy(), lhs, rel.to_numpy(), rhs)

    for number, batches in enumerate(lines.values()):
        shop.insert("raw", (raw(number, batch) for batch in batches()))
    return Read(
        entities=entity_types(cfg),
        relations={name: RelationConfig(left=ENTITY, right=ENTITY) for name in relations},
        splits=list(lines),
        nodes="ids",
    )


def triples_folder(folder: str) -> str:
    """The folder, of `package:NAME/PATH` the one inside the package, which is found without being imported."""
    if not folder.startswith(PACKAGE):
        return folder
    package, _, path = folder.removeprefix(PACKAGE).partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"data.source.folder={folder}: no package {package} is installed: pip install {package}")
    return str(Path(next(iter(spec.submodule_search_locations))) / path)


def _lines(shop: Workshop, source: TriplesSource, files: EdgeFiles) -> Callable[[], Iterator[pa.RecordBatch]]:
    """Opens a stream of the split's lines: columns lhs, rel, rhs, and `place`."""
    paths = expand(files.files, triples_folder(source.folder))

    def whole() -> Iterator[pa.RecordBatch]:
        for path in paths:
            line = 0
            try:
                with _opened(path, source) as reader:
                    for batch in reader:
                        at = pa.array(located(shop.number(path), np.arange(line, line + len(batch))))
                        line += len(batch)
                        yield _words(shop, batch.append_column("place", at))
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{path}: can't be read as triples ({first_line(error)})") from error

    return lambda: part(whole(), files.offset, files.limit)


def _opened(path: Path, source: TriplesSource) -> pa_csv.CSVStreamingReader:
    return pa_csv.open_csv(
        path,
        pa_csv.ReadOptions(column_names=source.order, use_threads=False),
        pa_csv.ParseOptions(delimiter=source.delimiter, quote_char=False, ignore_empty_lines=False),
        pa_csv.ConvertOptions(column_types=dict.fromkeys(source.order, pa.string()), strings_can_be_null=False),
    )


def _words(shop: Workshop, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The lines that are not empty; of these, no word may be."""
    empty = {name: pc.equal(batch.column(name), "") for name in ("lhs", "rel", "rhs")}
    blank = pc.and_(pc.and_(empty["lhs"], empty["rel"]), empty["rhs"])
    for name, gaps in empty.items():
        gaps = pc.and_not(gaps, blank)
        if pc.any(gaps).as_py():
            at = batch.column("place").filter(gaps)[0].as_py()
            raise DataError(f"{shop.place(at)}: {name} is empty: fill it, or leave the edge out")
    return batch.filter(pc.invert(blank))
