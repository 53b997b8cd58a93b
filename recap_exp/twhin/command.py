"""`recap-exp twhin export` and `recap-exp twhin neighbours`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from recap_exp.data.embeddings import exported_table
from recap_exp.errors import ConfigError
from recap_exp.paths import data_path
from recap_exp.terminal import console
from recap_exp.twhin.finished import load_graph_run
from recap_exp.twhin.neighbours import Neighbours, neighbours


def export(run: str, path: str | None = None) -> None:
    """Writes the run's tables into the folder `path`, or into the run's own, where rankers find them, and says where they are."""
    loaded = load_graph_run(run)
    entities = loaded.graph.schema.entities
    folder = data_path(path) if path else exported_table(loaded.folder.path, next(iter(entities))).parent
    loaded.export(folder)
    table = Table("entity", "rows", "width", "files")
    for entity, rows in entities.items():
        files = ", ".join(f"{entity}{suffix}" for suffix in (".parquet", ".npy", ".ids.npy"))
        table.add_row(escape(entity), f"{rows:,}", str(loaded.config.model.dim), escape(files))
    console().print(table)
    console().print(f"run {loaded.folder.id}: {folder}", soft_wrap=True, highlight=False)


def show_neighbours(
    run: str,
    id: Sequence[str],
    entity: str | None = None,
    k: str = "10",
    relation: str | None = None,
    side: str = "right",
    index: str = "exact",
) -> None:
    """Prints the neighbours of each node in `id`, a table each; see `neighbours`."""
    if not id:
        raise ConfigError("recap-exp twhin neighbours needs id=ID: the id of a node, as the data has it")
    if not k.isdecimal():
        raise ConfigError(f"k='{k}': must be a whole number of at least 1")
    loaded = load_graph_run(run)
    out = console()
    for near in neighbours(loaded, id, entity, int(k), relation, side, index):  # type: ignore[arg-type]
        by = "cosine" if relation is None else f"{relation}, {side} end"
        out.print(f"{near.entity} {near.id}: nearest {near.of} by {by}", style="bold", highlight=False, markup=False)
        if not near.degree:
            out.print(f"! {near.id} has no training edge: its vector is as it was drawn", style="yellow", highlight=False, markup=False)
        out.print(_table(near))
    out.print(f"run {loaded.folder.id}: {loaded.folder.path}", soft_wrap=True, highlight=False)


def _table(near: Neighbours) -> Table:
    table = Table("", "id", "score", "degree", *(escape(name) for name in near.attributes))
    for place, (node, score, degree) in enumerate(zip(near.ids, near.scores, near.degrees, strict=True)):
        told = (escape(_short(values[place])) for values in near.attributes.values())
        table.add_row(str(place + 1), escape(str(node)), f"{score:.4f}", f"{degree:,}", *told)
    return table


def _short(value: object) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"
