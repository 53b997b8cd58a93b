"""Bad input through whole commands: exit code 1, one line that names file, record, column and value; nothing half-written left."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recap_exp.cli import main
from recap_exp.data.tfrecord import masked_crc
from recap_exp.paths import made_data_dir

ROWS = "data.source.rows={train: 64, val: 32, test: 32}"
TRAIN = ["trainer.steps=4", "trainer.batch_size=16", "trainer.early_stopping=null", "trainer.evaluate_every=null", "tracking=none"]


def fails(capsys, *arguments: str) -> str:
    """The one line that the command ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    errors = capsys.readouterr().err
    lines = [line for line in errors.splitlines() if line.startswith("recap-exp: ")]
    assert ended.value.code == 1
    assert len(lines) == 1, errors
    assert "Traceback" not in errors
    return lines[0]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """Small records and a small Parquet table, made by the command."""
    folder = tmp_path_factory.mktemp("made")
    os.environ["RECAP_OUTPUTS"] = str(folder / "outputs")
    for data, name in (("random_records", "records"), ("planted", "table")):
        form = "tfrecord" if data == "random_records" else "parquet"
        layout = "packed" if data == "random_records" else "named"
        with pytest.raises(SystemExit) as ended:
            main(["data", f"data={data}", ROWS, f"output.path={folder / name}", f"output.format={form}", f"output.layout={layout}"])
        assert ended.value.code == 0
    return folder


@pytest.fixture
def made(made_once, tmp_path) -> Path:
    """A copy that the test may spoil."""
    for name in ("records", "table"):
        shutil.copytree(made_once / name, tmp_path / name)
    return tmp_path


def train_on_records(made: Path) -> list[str]:
    return [
        "train",
        "experiment=original_local",
        "model=masknet_parallel",
        "data=records",
        f"data.source.folder={made / 'records'}",
        *TRAIN,
    ]


def a_file(folder: Path, split: str = "train") -> Path:
    return next(p for p in sorted((folder / split).iterdir()) if p.is_file())


def test_records_that_are_whole_train(made, capsys):
    with pytest.raises(SystemExit) as ended:
        main(train_on_records(made))
    assert ended.value.code == 0, capsys.readouterr().err


def test_a_truncated_gzip(made, capsys):
    file = a_file(made / "records")
    file.write_bytes(file.read_bytes()[:-5000])
    assert file.name in (line := fails(capsys, *train_on_records(made)))
    assert "record" in line


def test_a_corrupt_gzip(made, capsys):
    file = a_file(made / "records")
    content = bytearray(file.read_bytes())
    content[5000:5100] = bytes(100)
    file.write_bytes(content)
    assert file.name in fails(capsys, *train_on_records(made))


def test_records_that_are_no_examples(made, capsys):
    record, length = b"not an example", struct.pack("<Q", 14)
    frame = length + struct.pack("<I", masked_crc(length)) + record + struct.pack("<I", masked_crc(record))
    file = a_file(made / "records")
    file.write_bytes(gzip.compress(frame * 40))
    line = fails(capsys, *train_on_records(made))
    assert file.name in line
    assert "record 0" in line


def test_a_feature_of_the_wrong_length(made, capsys):
    line = fails(capsys, *train_on_records(made), "data.blocks.continuous.width=5999")
    assert "record 0" in line
    assert "6000" in line
    assert "5999" in line


def test_a_missing_column(made, capsys):
    line = fails(capsys, *train_on_records(made), "tasks.is_favorited.label=recap.engagement.is_favourited")
    assert "recap.engagement.is_favourited" in line
    assert "did you mean" in line


def test_an_empty_glob(made, capsys):
    line = fails(capsys, *train_on_records(made), "data.source.splits.train.files=['trian/*.gz']")
    assert "trian/*.gz" in line


def test_fewer_rows_than_a_batch(made, capsys):
    line = fails(capsys, *train_on_records(made), "trainer.batch_size=4096")
    assert "4096" in line
    assert "train" in line


def spoil(made: Path, column: str, values: pa.Array | None) -> Path:
    """Replaces a column of the training table, or drops it."""
    file = a_file(made / "table")
    table = pq.read_table(file)
    index = table.column_names.index(column)
    table = table.remove_column(index) if values is None else table.set_column(index, column, values)
    pq.write_table(table, file)
    return file


LABEL = "recap.engagement.is_replied"


def train_on_table(made: Path) -> list[str]:
    return ["train", "data=dataset", f"data.source.path={made / 'table'}", *TRAIN]


def test_a_table_that_is_whole_trains(made, capsys):
    with pytest.raises(SystemExit) as ended:
        main(train_on_table(made))
    assert ended.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (np.arange(64) % 3, ["is 2", LABEL, "binarize"]),
        (np.where(np.arange(64) == 7, np.nan, 0.0), ["is nan", LABEL, "record 7"]),
        (np.full(64, -1), ["is -1", LABEL]),
    ],
)
def test_a_label_outside_0_and_1(made, capsys, values, parts):
    file = spoil(made, LABEL, pa.array(values))
    line = fails(capsys, *train_on_table(made))
    for part in [file.name, *parts]:
        assert part in line


@pytest.mark.parametrize(("column", "values"), [(LABEL, None), ("continuous_03", None), ("continuous_03", pa.array(["a"] * 64))])
def test_a_column_that_is_gone_or_of_the_wrong_type(made, capsys, column, values):
    file = spoil(made, column, values)
    line = fails(capsys, *train_on_table(made))
    assert column in line
    assert file.name in line


def test_a_broken_parquet_file(made, capsys):
    file = a_file(made / "table")
    file.write_bytes(file.read_bytes()[:-100])
    assert file.name in fails(capsys, *train_on_table(made))


def test_binarize_reads_what_is_above_0_as_1(made, capsys):
    spoil(made, LABEL, pa.array(np.arange(64) % 3))
    with pytest.raises(SystemExit) as ended:
        main([*train_on_table(made), "data.binarize=true"])
    assert ended.value.code == 0, capsys.readouterr().err


def test_an_unreadable_checkpoint(made, capsys, outputs):
    with pytest.raises(SystemExit):
        main(train_on_table(made))
    for file in outputs.glob("runs/*/checkpoints/step_*/state/*.distcp"):
        file.write_bytes(file.read_bytes()[:100])
    line = fails(capsys, "score", "run=latest", "tracking=none")
    assert "step_00000004" in line


def test_a_conversion_that_fails_leaves_nothing_under_the_final_name(made, capsys):
    file = a_file(made / "records")
    file.write_bytes(file.read_bytes()[:-5000])
    command = ["data", "data=records", f"data.source.folder={made / 'records'}", f"output.path={made / 'out'}"]
    assert file.name in fails(capsys, *command)
    assert not (made / "out").exists()
    assert not [p for p in made.iterdir() if p.name.startswith(".")]


def test_making_data_that_can_t_be_made_leaves_nothing(capsys):
    line = fails(capsys, "data", "data=planted", "data.source.rows.train=0")
    assert "rows.train" in line
    assert not made_data_dir().exists()
