"""Configuration of the data room: which data, what its columns mean. Free of torch."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from recap_exp.configclass import configclass
from recap_exp.data.events.config import EventsSource
from recap_exp.data.made.config import Format, MadeSource
from recap_exp.tasks import Rates

BlockKind = Literal["continuous", "binary", "discrete", "embedding"]

Layout = Literal["packed", "named"]
"""Of Parquet: one list column a block, or one column a feature."""

OF_RUN, OF_RECIPE = "run:", "recipe:"
"""How the name of a table begins that is a run's, or the run's of a recipe."""


@configclass
class BlockConfig:
    """Columns that enter the model together as one tensor [rows, width]."""

    kind: BlockKind
    columns: list[str]
    """Stored columns, in order; `*` and `?` match several, in the file's order.
    A list column gives as many features as it is long, a scalar column one."""
    width: int | None = None
    """Stored width. Made data and TFRecords need it; Parquet is read off the file, and must agree where given."""
    use: int | None = None
    """Only the first `use` features (the original stores 6000 continuous and uses 2117)."""

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("use", self.use)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if self.width is not None and self.use is not None and self.use > self.width:
            raise ValueError(f"use={self.use} exceeds width={self.width}")


@configclass
class SplitFiles:
    """The files of one split, and which of their rows belong to it."""

    files: list[str]
    """Paths or globs (`**` goes into folders), relative to the source's folder."""
    where: dict[str, str | int] = field(default_factory=dict)
    """Only rows whose column has this value, for tables that hold several splits (Parquet only)."""


@configclass
class FilesSource:
    """Files that exist already: the original's GZIP TFRecords, or Parquet in packed or named columns."""

    kind: Literal["files"] = "files"
    format: Format = "parquet"
    folder: str = "."
    """Where the paths of the splits begin, relative to RECAP_DATA."""
    splits: dict[str, SplitFiles] = field(default_factory=dict)


@configclass
class DatasetSource:
    """A folder with a manifest.json that `recap-exp data` made: schema, format and splits come from there."""

    kind: Literal["dataset"] = "dataset"
    path: str
    """Relative to RECAP_DATA."""


Source = Annotated[MadeSource | FilesSource | DatasetSource | EventsSource, Field(discriminator="kind")]


@configclass
class StoredEmbeddingConfig:
    """A vector for each row, looked up by an id that the row carries: a block of kind embedding."""

    id: str
    """Which id: a name of data.ids, or of those that the source knows itself (a table of events: viewer, item)."""
    table: str
    """A Parquet file, relative to RECAP_DATA, with the columns `id` (integers or texts) and `vector` (lists of one length), as `recap-exp
    twhin export` writes; or run:RUN_ID/ENTITY, a table of a TwHIN run; or recipe:NAME/ENTITY, of the run of
    experiment=NAME just as the recipe says, which is trained first where there is none yet."""
    unknown: Literal["zero", "mean"] = "zero"
    """What a row gets whose id the table lacks, or has not trained (column `degree` is 0): zeros, or the mean of the others' vectors."""

    def __post_init__(self) -> None:
        named = self.of_run or self.of_recipe
        if not self.table or (self.table.startswith((OF_RUN, OF_RECIPE)) and named is None):
            raise ValueError(f"table must be a Parquet file, run:RUN_ID/ENTITY or recipe:NAME/ENTITY, not '{self.table}'")

    @property
    def of_run(self) -> tuple[str, str] | None:
        """Run and entity; None where `table` names no run."""
        return self._named(OF_RUN)

    @property
    def of_recipe(self) -> tuple[str, str] | None:
        """Recipe and entity; None where `table` names no recipe."""
        return self._named(OF_RECIPE)

    def _named(self, prefix: str) -> tuple[str, str] | None:
        owner, _, entity = self.table.removeprefix(prefix).partition("/")
        return (owner, entity) if self.table.startswith(prefix) and owner and entity and "/" not in entity else None


@configclass
class DataConfig:
    """A data set and what its columns mean. Readers take from the files only what the experiment uses."""

    name: str
    """Short, for tables and the MLflow dataset."""
    source: Source
    blocks: dict[str, BlockConfig] = field(default_factory=dict)
    """Blocks by our name. Empty where the source knows its own (planted, null, events, dataset)."""
    ids: dict[str, str] = field(default_factory=dict)
    """Integer ids carried along with each row: our name -> stored column. 64 bits."""
    embeddings: dict[str, StoredEmbeddingConfig] = field(default_factory=dict)
    """Further blocks by our name, looked up by id in tables of embeddings."""
    labels: list[str] = field(default_factory=list)
    """Label columns that a conversion carries, beside those of the tasks."""
    extras: dict[str, str] = field(default_factory=dict)
    """Further scalar columns carried along (groups, strata): our name -> stored column."""
    binarize: bool = False
    """Labels > 0 become 1. Off: a label outside {0, 1} is an error."""
    sampling_rates: dict[str, Rates] = field(default_factory=dict)
    """Per task, how the training split was downsampled: the weight of a row is y/p + (1-y)/n. Tasks not named: 1."""
    weight: str | None = None
    """An extra that holds a weight for each row, of all tasks; it multiplies the sampling weights, and weighs metrics too."""
    shuffle_rows: int = 1024
    """Rows of the training shuffle buffer."""
    workers: int = 0
    """Processes that decode training batches; 0 decodes in a thread beside the training step."""

    def __post_init__(self) -> None:
        if self.shuffle_rows < 1:
            raise ValueError(f"shuffle_rows must be at least 1, not {self.shuffle_rows}")
        if self.workers < 0:
            raise ValueError(f"workers must be at least 0, not {self.workers}")
        for name in self.embeddings.keys() & self.blocks.keys():
            raise ValueError(f"embeddings.{name}: blocks has one of that name already; give it another")
