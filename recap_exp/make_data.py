"""`recap-exp data`: makes a data set, or converts one."""

from __future__ import annotations

from dataclasses import replace

from recap_exp.config import DataCommandConfig
from recap_exp.data.convert import convert
from recap_exp.data.dataset import Dataset
from recap_exp.data.info import info
from recap_exp.data.prepare import prepare
from recap_exp.paths import data_path
from recap_exp.terminal import console
from recap_exp.twhin.pin import pinned_tables


def make_data(cfg: DataCommandConfig) -> Dataset:
    """The data set that `data` names, made where it has to be; with output.path written there in the wanted format.

    Labels are carried over as they are: those of `data.labels`, or all that the source stores by itself.
    """
    dataset = prepare(pinned_tables(cfg.data), cfg.data.labels)
    if cfg.output.path is not None:
        out = cfg.output
        folder = data_path(cfg.output.path)
        named = replace(dataset, name=folder.name)
        dataset = convert(named, folder, out.format, out.layout, splits=out.splits, files=out.files)
    console().print(f"{dataset.name}: {dataset.folder}", soft_wrap=True)
    if dataset.folder:
        info(str(dataset.folder))
    return dataset
