import math
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recap_exp.errors import RecapError
from recap_exp.tracking.journal import Journal, is_being_written, read


def test_records_come_back_in_order_with_their_offsets(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for i in range(5):
        journal.append("metrics", v={"a": i}, step=i)
    journal.close()
    found = list(read(journal.path))
    assert [r["v"]["a"] for r, _ in found] == [0, 1, 2, 3, 4]
    again = list(read(journal.path, found[1][1]))
    assert [r["step"] for r, _ in again] == [2, 3, 4]
    assert again[-1][1] == journal.path.stat().st_size


@settings(max_examples=20, deadline=None)
@given(values=st.dictionaries(st.text(min_size=1), st.floats(), min_size=1))
def test_every_number_and_name_survives(values: dict[str, float], tmp_path_factory: pytest.TempPathFactory) -> None:
    journal = Journal(tmp_path_factory.mktemp("run"))
    journal.append("metrics", v=values)
    journal.close()
    ((record, _),) = read(journal.path)
    assert record["v"].keys() == values.keys()
    assert all(record["v"][k] == v or (math.isnan(v) and math.isnan(record["v"][k])) for k, v in values.items())


def test_a_record_is_on_disk_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append("tags", v={"a": "b"})
    assert len(list(read(journal.path))) == 1
    journal.close()


def test_a_torn_line_is_skipped_and_an_unfinished_one_waits(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append("tags", v={"a": "1"})
    journal.close()
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + b'{"t": 1, "k": "tag')
    assert len(list(read(journal.path))) == 1
    journal = Journal(tmp_path)  # a resumed run
    journal.append("tags", v={"a": "2"})
    journal.close()
    assert [r["v"]["a"] for r, _ in read(journal.path)] == ["1", "2"]


def test_one_process_writes_a_run(tmp_path: Path) -> None:
    assert not is_being_written(tmp_path)
    journal = Journal(tmp_path)
    assert is_being_written(tmp_path)
    with pytest.raises(RecapError, match="is being written by another process"):
        Journal(tmp_path)
    journal.close()
    assert not is_being_written(tmp_path)
    Journal(tmp_path).close()


def _fill(folder: Path, limit: int) -> None:
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = Journal(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for i in range(100):
        journal.append("metrics", v={"a": i}, step=i)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    journal.append("end", status="FINISHED")


def test_records_wait_in_memory_while_the_disk_is_full(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_fill, args=(tmp_path, 1000))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    kinds = [r["k"] for r, _ in read(tmp_path / "records.jsonl")]
    assert kinds == ["metrics"] * 100 + ["end"]
