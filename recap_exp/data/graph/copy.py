"""A graph in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from recap_exp.data.graph.graph import Graph
from recap_exp.data.graph.write import write_manifest
from recap_exp.data.once import maker, new_folder


def copy_graph(graph: Graph, folder: Path, splits: Sequence[str] | None = None) -> Graph:
    """Writes the nodes and the splits (all, or those named) to `folder`, whose name the copy gets. Raises AlreadyThere, DataError."""
    chosen = list(graph.splits) if splits is None else list(splits)
    files = [*graph.entity_files, *(file for split in chosen for file in graph.files(split))]
    kept = {split: graph.manifest["splits"][split] for split in chosen}
    with new_folder(folder) as draft:
        for file in files:
            target = draft / file.relative_to(graph.folder)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)
        write_manifest(draft, {**graph.manifest, "name": folder.name, "by": maker(), "splits": kept})
    return Graph.open(folder)
