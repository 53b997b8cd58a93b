"""`recap-exp rerun`, as a user calls it: what it says has changed, whether it starts, and what it finds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_experiment import NO_STORE, SMALL, run_cli

import recap_exp
from recap_exp.composition import compose, from_yaml
from recap_exp.config import ExperimentConfig
from recap_exp.experiment import evaluate_partitions
from recap_exp.plain_yaml import read_plain, write_plain
from recap_exp.rerun import Comparison, points
from recap_exp.runs import RunFolder

QUICK = [*SMALL, "trainer.evaluate_every=12", "trainer.log_every=6", NO_STORE]
HARD = [
    *SMALL,
    NO_STORE,
    "data.source.files=2",
    "data.workers=2",
    "data.shuffle_rows=200",
    "trainer.accumulate=2",
    "trainer.batch_size=32",
    "model.tower.dropout=0.2",
    "evaluation.strata=[author_id]",
    "scoring=equal_share",
    "scoring.compare=[home_2023]",
]
"""What could make two runs differ: workers, accumulation, dropout, shuffling."""


@pytest.fixture(autouse=True)
def plain_runs(monkeypatch):
    """Without pictures, which take most of a small run's time and have no numbers."""
    monkeypatch.setattr("recap_exp.tracking.recorder.Recorder.figure", lambda *_: None)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """outputs/ with a quick run, and the checkout that it took for its own: none that others work in meanwhile."""
    folder = tmp_path_factory.mktemp("first")
    code = folder / "checkout"
    code.mkdir()
    (code / "model.py").write_text("a = 1\n")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=code, check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RECAP_OUTPUTS", str(folder / "outputs"))
        patched.setattr("recap_exp.tracking.environment.checkout", lambda: code)
        recap_exp.run(compose("train", QUICK))
    return folder


@pytest.fixture
def code(first, tmp_path, monkeypatch) -> Path:
    """A copy of that checkout."""
    copy = Path(shutil.copytree(first / "checkout", tmp_path / "checkout"))
    monkeypatch.setattr("recap_exp.tracking.environment.checkout", lambda: copy)
    return copy


@pytest.fixture
def run(first, code, outputs) -> RunFolder:
    """A copy of that run, in the outputs/ of this test."""
    shutil.copytree(first / "outputs", outputs, symlinks=True)
    return newest(outputs)


def newest(outputs: Path) -> RunFolder:
    return RunFolder(max(outputs.glob("runs/*")))


def change_one_byte(file: Path) -> None:
    """In its middle, size and time of change left as they were."""
    stat, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_rerun_is_identical_and_linked(run, outputs, capsys):
    assert run_cli("rerun", run.id[:-2], "--exact") == 0
    printed = capsys.readouterr().out
    assert f"everything that run {run.id} depended on is as it was" in printed
    told = points(run.path)
    assert f"identical: {len({name for name, _ in told})} metrics, {len(told)} points" in printed
    again = newest(outputs)
    assert again.card["rerun_of"] == run.id and again.card["identical"] is True and again.card["command"] == "train"
    start = json.loads((again.path / "records.jsonl").read_text().splitlines()[0])
    assert start["tags"]["recap.rerun_of"] == run.id and f"Rerun of {run.id}" in start["notes"]
    assert {name.split("/")[0] for name, _ in told} >= {"train", "lr", "val", "test", "score", "model"}
    assert not any(name.startswith("perf/") for name, _ in told)
    assert from_yaml(ExperimentConfig, again.config) == from_yaml(ExperimentConfig, run.config)


def test_in_mlflow_the_rerun_leads_to_the_run(run, outputs):
    import mlflow

    run.note(url="http://127.0.0.1:5000/#/experiments/1/runs/abc")
    assert run_cli("rerun", "latest", "tracking=mlflow", "tracking.log_model=false", "tracking.notes=mine") == 0
    found = mlflow.MlflowClient(f"sqlite:///{outputs}/mlflow.db").get_run(newest(outputs).card["mlflow_run_id"])
    assert found.data.tags["recap.rerun_of"] == run.id
    assert found.data.tags["mlflow.note.content"] == f"mine\n\nRerun of [{run.id}](#/experiments/1/runs/abc)"


def test_a_run_that_was_resumed_is_the_same_in_one_go_with_hashes_in_another_order(code, outputs, capsys, monkeypatch):
    evaluations = []

    def interrupted(*arguments, **named):
        evaluations.append(1)
        if len(evaluations) == 2:
            raise KeyboardInterrupt
        return evaluate_partitions(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr("recap_exp.experiment.evaluate_partitions", interrupted)
        assert run_cli("train", *HARD) == 130
    stopped = newest(outputs)
    assert any(stopped.checkpoints.glob("step_*"))
    assert run_cli("rerun", stopped.id) == 1
    assert f"run {stopped.id} is KILLED" in capsys.readouterr().err
    assert run_cli("train", "resume=latest") == 0
    command = [sys.executable, "-m", "recap_exp", "rerun", stopped.id]
    again = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "7"}, timeout=600)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "identical" in again.stdout
    then, now = ({point: value.hex() for point, value in points(f.path).items()} for f in (stopped, newest(outputs)))
    assert then == now
    assert {step for name, step in then if name == "train/loss"} == {3, 6, 9, 12}


def test_another_seed_is_a_difference(run, outputs, capsys):
    assert run_cli("rerun", "latest", "seed=1") == 1
    printed = capsys.readouterr().out
    assert re.search(r"config seed\s+│ 0\s+│ 1", printed)
    assert re.search(r"\d+ of \d+ points differ", printed) and re.search(r"\.\.\. and \d+ more", printed)
    assert newest(outputs).card["identical"] is False
    assert from_yaml(ExperimentConfig, newest(outputs).config).seed == 1


def test_one_changed_byte_of_the_data_is_noticed(run, outputs, capsys):
    (file,) = outputs.glob("data/*/test/*.parquet")
    change_one_byte(file)
    assert run_cli("rerun", "latest", "--exact") == 1
    printed = capsys.readouterr()
    assert re.search(r"data test part-00000.parquet: then \w{12}, now \w{12}\n", printed.out)
    assert "--exact: 1 of what run" in printed.err and "nothing was started" in printed.err
    assert newest(outputs) == run


def test_new_and_changed_code_is_noticed(run, code, outputs, capsys):
    (code / "mine.py").write_text("b = 1\n")
    assert run_cli("rerun", "latest", "--exact") == 1
    assert "uncommitted code: then -, now " in capsys.readouterr().out
    assert run_cli("rerun", "latest") == 0
    printed = capsys.readouterr().out
    assert "uncommitted code" in printed and "identical" in printed
    again = newest(outputs)
    assert "+b = 1\n" in (again.path / "artifacts/environment/git.diff").read_text()
    assert json.loads((again.path / "artifacts/dependencies.json").read_text())["changes"]
    (code / "mine.py").write_text("b = 2\n")
    assert run_cli("rerun", "latest", "--exact") == 1


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (["packages", "numpy"], "1.0", "packages numpy: then 1.0, now "),
        (["packages", "gone"], "2.0", "packages gone: then 2.0, now -"),
        (["version"], "0.0.1", "recap_exp: then 0.0.1, now "),
        (["python"], "2.7", "python: then 2.7, now 3."),
        (["threads"], 64, "threads: then 64, now 1"),
        (["device"], "NVIDIA H100", "device: then NVIDIA H100, now cpu"),
        (["cpu"], "Z80", "cpu: then Z80, now "),
        (["environment", "MKL_CBWR"], "AVX2", "environment MKL_CBWR: then AVX2, now -"),
        (["commit"], None, "commit: then -, now "),
    ],
)
def test_everything_recorded_is_checked(path, value, line, run, capsys):
    stored = json.loads(run.dependencies.read_text())
    part = stored
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    run.dependencies.write_text(json.dumps(stored))
    assert run_cli("rerun", run.id, "--exact") == 1
    printed = capsys.readouterr()
    assert line in printed.out and printed.out.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "takes a run's id, or latest"),
        (["seed=1"], "takes a run's id, or latest"),
        (["latest", "-m", "seed=0,1"], "knows --exact, not -m"),
        (["nonsense"], "no run 'nonsense'"),
        (["latest", "trainer.stps=3"], "did you mean 'steps'"),
        (["latest", "trainer.steps=0"], "at least 1"),
        (["latest", "experiment=deskdrop"], "composed already"),
        (["latest", "model=mpl"], "did you mean 'mlp'"),
        (["latest", "data=dataset", "data.source.path=nowhere"], "no data set is here"),
        (["latest", "seed=1", "--exact"], "--exact: 1 of what run"),
    ],
)
def test_a_wrong_call_is_one_line(arguments, part, run, outputs, capsys):
    assert run_cli("rerun", *arguments) == 1
    errors = capsys.readouterr().err
    assert part in errors and errors.count("\n") == 1
    assert newest(outputs) == run


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("seed: ${oc.env:HOME}", "must be an integer"),
        ("seed: !!python/object/apply:os.getpid []", "tag"),
        ("_target_: os.system", "_target_"),
    ],
)
def test_a_run_whose_configuration_was_tampered_with_is_refused(line, part, run, capsys):
    kept = [own for own in run.config.read_text().splitlines() if own.split(":")[0] != line.split(":")[0]]
    run.config.write_text("\n".join([*kept, line]))
    assert run_cli("rerun", run.id) == run_cli("score", f"run={run.id}", NO_STORE) == 1
    with open(run.path / "records.jsonl", "a") as journal:
        journal.write('{"k": "start", "t": 0}\n{"k": "end", "t": 0, "status": "KILLED"}\n')
    run.note(status="KILLED")
    assert run_cli("train", f"resume={run.id}") == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3 and all(str(run.config) in error and part in error for error in errors)


def test_a_run_without_configuration_or_record_of_what_it_depends_on(run, outputs, capsys):
    run.dependencies.rename(run.path / "kept")
    assert run_cli("rerun", "latest", "--exact") == 1
    assert "what it depends on: then not recorded" in capsys.readouterr().out
    (run.path / "dependencies.json").write_text('{"version": 3}')
    assert run_cli("rerun", "latest") == 1
    assert "dependencies.json: can't be read" in capsys.readouterr().err
    run.config.unlink()
    assert run_cli("rerun", "latest") == 1
    assert "config.yaml" in capsys.readouterr().err


def test_an_older_run_is_rerun_without_a_record(run, outputs, capsys):
    run.dependencies.unlink()
    stored = read_plain(run.config)
    for key in ("compared", "sweep"):
        stored.pop(key, None)
    run.config.write_text(write_plain(stored))
    assert run_cli("rerun", "latest") == 0
    printed = capsys.readouterr().out
    assert "not recorded" in printed and "identical" in printed


def test_a_scoring_is_rerun_by_its_id(run, outputs, capsys):
    assert run_cli("score", "run=latest", "scoring=home_2026", "scoring.compare=[home_2023]", NO_STORE) == 0
    scored = newest(outputs)
    assert read_plain(scored.config)["run"] == run.id
    assert run_cli("rerun", scored.id, "--exact") == 0
    assert "identical" in capsys.readouterr().out
    assert newest(outputs).card["command"] == "score" and newest(outputs).card["rerun_of"] == scored.id
    assert run_cli("rerun", scored.id, "scoring.engagements.favorite.weight=5") == 1
    (tensors,) = run.path.glob("checkpoints/step_*/state/*.distcp")
    change_one_byte(tensors)
    assert run_cli("rerun", scored.id, "--exact") == 1
    assert f"weights {tensors.name}: then " in capsys.readouterr().out


def test_what_conf_says_of_compared_weight_sets_later_changes_nothing(code, outputs, tmp_path, monkeypatch):
    recap_exp.run(compose("train", [*QUICK, "scoring.compare=[home_2026]", "scoring.unmatched=list"]))
    stored = newest(outputs)
    monkeypatch.setattr("recap_exp.composition.load_choice", lambda *_: pytest.fail("conf/ is read"))
    assert run_cli("rerun", stored.id, "--exact") == 0


def test_a_warm_start_is_pinned_and_its_weights_are_checked(run, outputs, capsys):
    recap_exp.run(compose("train", [*QUICK, "trainer.warm_start=latest"]))
    warm = newest(outputs)
    assert read_plain(warm.config)["trainer"]["warm_start"] == run.id
    assert run_cli("rerun", warm.id, "--exact") == 0
    (tensors,) = run.path.glob("checkpoints/step_*/state/*.distcp")
    change_one_byte(tensors)
    assert run_cli("rerun", warm.id, "--exact") == 1
    assert f"weights {tensors.name}: then " in capsys.readouterr().out


def test_points_are_compared_to_the_last_bit_and_the_largest_difference_comes_first():
    nan, inf = float("nan"), float("inf")
    then = {("a", 1): 1.0, ("b", None): nan, ("c", 1): 0.1 + 0.2, ("d", 2): 5.0, ("e", 1): 2.0, ("z", 1): 0.0, ("i", 1): inf}
    now = {("a", 1): 1.0, ("b", None): nan, ("c", 1): 0.3, ("e", 1): 1.0, ("z", 1): -0.0, ("n", None): 1.0, ("i", 1): inf}
    found = Comparison(then=then, now=now)
    assert found.differing == [("d", 2), ("n", None), ("z", 1), ("e", 1), ("c", 1)]
    assert found.size(("e", 1)) == 0.5
    assert found.words() == "8 metrics, 8 points"
    assert not Comparison(then=then, now=dict(reversed(then.items()))).differing


def test_a_run_that_goes_on_under_other_conditions_says_so(run, outputs, capsys):
    stored = json.loads(run.dependencies.read_text())
    run.dependencies.write_text(json.dumps(stored | {"python": "3.10.0"}))
    with open(run.path / "records.jsonl", "a") as journal:
        journal.write('{"k": "start", "t": 0, "run": "x"}\n{"k": "end", "t": 0, "status": "KILLED"}\n')
    run.note(status="KILLED")
    assert run_cli("train", "resume=latest") == 0
    assert re.search(r"not with what it began with", capsys.readouterr().out)
    assert json.loads(run.dependencies.read_text())["python"] == "3.10.0"
    assert run_cli("rerun", run.id, "--exact") == 1
    assert "python, since it was resumed: then 3.10.0, now 3." in capsys.readouterr().out


def test_a_changed_event_log_is_noticed(code, outputs, tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    (data / "deskdrop").mkdir(parents=True)
    log = data / "deskdrop" / "users_interactions.csv"
    kinds = ["VIEW", "LIKE", "BOOKMARK", "FOLLOW", "COMMENT CREATED"]
    lines = (f"{1_457_963_676 + i * 40_000},{kinds[i % 7 % 5]},{i * 7 % 40},{i * 3 % 29},1,Android,SP,BR" for i in range(400))
    log.write_text("\n".join(["timestamp,eventType,contentId,personId,sessionId,userAgent,userRegion,userCountry", *lines, ""]))
    monkeypatch.setenv("RECAP_DATA", str(data))
    small = [o for o in QUICK if not o.startswith("data.")]
    recap_exp.run(compose("train", ["experiment=deskdrop", *small, "trainer.batch_size=16"]))
    first = newest(outputs)
    assert list(json.loads(first.dependencies.read_text())["log"]) == [log.name]
    moved = data.rename(tmp_path / "moved")
    assert run_cli("rerun", "latest") == 1
    assert "nothing matches" in capsys.readouterr().err
    monkeypatch.setenv("RECAP_DATA", str(moved))
    assert run_cli("rerun", first.id, "--exact") == 0
    change_one_byte(moved / "deskdrop" / log.name)
    assert run_cli("rerun", first.id, "--exact") == 1
    assert f"log {log.name}: then " in capsys.readouterr().out


def test_a_job_of_a_sweep_is_rerun_as_a_run_of_its_own(code, outputs, capsys):
    assert run_cli("train", "-m", *QUICK, "seed=4,5") == 0
    jobs = [f for p in outputs.glob("runs/*/run.json") if (f := RunFolder(p.parent)).card.get("job") is not None]
    (sweep,) = {f.card["sweep"] for f in jobs}
    assert run_cli("rerun", jobs[1].id) == 0
    again = newest(outputs)
    assert again.card["rerun_of"] == jobs[1].id and "sweep" not in again.card and "job" not in again.card
    assert "identical" in capsys.readouterr().out
    assert run_cli("rerun", sweep) == 1
    assert f"{sweep} is a sweep: rerun one of its jobs" in capsys.readouterr().err
