"""`recap-exp data`: makes a data set or a graph, or converts one."""

from __future__ import annotations

from dataclasses import replace

from recap_exp.config import DataCommandConfig, OutputConfig
from recap_exp.data.config import DataConfig
from recap_exp.data.convert import convert
from recap_exp.data.dataset import Dataset
from recap_exp.data.graph.config import GraphConfig
from recap_exp.data.graph.graph import Graph
from recap_exp.data.info import info
from recap_exp.data.prepare import prepare
from recap_exp.paths import data_path
from recap_exp.terminal import console
from recap_exp.twhin.pin import pinned_tables


def make_data(cfg: DataCommandConfig) -> Dataset | Graph:
    """What `data` names, made where it has to be; with output.path written there, a data set in the wanted format."""
    made = _graph(cfg.data, cfg.output) if isinstance(cfg.data, GraphConfig) else _dataset(cfg.data, cfg.output)
    console().print(f"{made.name}: {made.folder}", soft_wrap=True)
    if made.folder:
        info(str(made.folder))
    return made


def _dataset(data: DataConfig, out: OutputConfig) -> Dataset:
    """Labels are carried over as they are: those of `data.labels`, or all that the source stores by itself."""
    dataset = prepare(pinned_tables(data), data.labels)
    if out.path is None:
        return dataset
    folder = data_path(out.path)
    return convert(replace(dataset, name=folder.name), folder, out.format, out.layout, splits=out.splits, files=out.files)


def _graph(data: GraphConfig, out: OutputConfig) -> Graph:
    from recap_exp.data.graph.copy import copy_graph
    from recap_exp.data.graph.prepare import prepare_graph

    graph = prepare_graph(data)
    return graph if out.path is None else copy_graph(graph, data_path(out.path), out.splits)
