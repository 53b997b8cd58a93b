"""`recap-exp compare` as a user types it: on real runs, on many made ones, and where something is wrong."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from made_runs import make_run

import recap_exp
from recap_exp.cli import main
from recap_exp.comparison.choose import choose
from recap_exp.composition import compose

SMALL = [
    "data.source.rows={train: 400, val: 200, test: 200}",
    "trainer.steps=6",
    "trainer.batch_size=64",
    "trainer.evaluate_every=3",
    "trainer.log_every=3",
    "evaluation.pictures=[]",
    "tracking=none",
]
VAL, TEST = "val/auroc/mean", "test/auroc/mean"


def run_cli(*arguments: str) -> int:
    """The command in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


class Page(HTMLParser):
    """A report as a reader sees it: texts, pictures, and whatever it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.pictures, self.fetched, self.open = "", [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href", "data", "action"):
                (self.pictures if (value or "").startswith("data:image/svg+xml") else self.fetched).append(value)
        if tag in ("script", "link", "iframe"):
            self.fetched.append(tag)
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two models with two seeds each, really trained."""
    folder = tmp_path_factory.mktemp("outputs")
    before = os.environ.get("RECAP_OUTPUTS")
    os.environ["RECAP_OUTPUTS"] = str(folder)
    results = [recap_exp.run(compose("train", [*SMALL, f"model={m}", f"seed={s}"])) for m in ("mlp", "masknet_serial") for s in (0, 1)]
    os.environ.pop("RECAP_OUTPUTS") if before is None else os.environ.update(RECAP_OUTPUTS=before)
    return folder, results


@pytest.fixture
def real(trained, monkeypatch):
    """Those runs' outputs/ as this test's."""
    monkeypatch.setenv("RECAP_OUTPUTS", str(trained[0]))
    return trained


def test_real_runs_side_by_side(real, capsys):
    folder, results = real
    assert run_cli("compare") == 0
    printed = capsys.readouterr().out
    made = folder / "comparisons" / "planted"
    assert str(made) in printed
    by_setting = rows_of(made / "settings.csv")
    assert sorted((row["model"], row["n"]) for row in by_setting if row["metric"] == VAL) == [("masknet_serial", "2"), ("mlp", "2")]
    for row in by_setting:
        mine = [r.metrics[row["metric"]] for r in (results[:2] if row["model"] == "mlp" else results[2:])]
        assert float(row["mean"]) == pytest.approx(np.mean(mine))
        assert float(row["std"]) == pytest.approx(np.std(mine, ddof=1))
    by_run = {row["run"]: row for row in rows_of(made / "runs.csv")}
    assert by_run.keys() == {r.run_id for r in results}
    for r in results:
        assert float(by_run[r.run_id][TEST]) == r.metrics[TEST]
    for r in results:
        assert r.run_id in printed
    page = Page((made / "report.html").read_text())
    assert not page.open
    assert not page.fetched
    assert len(page.pictures) >= 6
    for part in ("What the settings do", "Along training", "Scores", VAL, "masknet_serial", results[0].run_id):
        assert part in page.text


def test_runs_by_id_and_its_beginning_and_other_metrics(real, capsys):
    folder, results = real
    ids = [results[0].run_id, results[2].run_id]
    assert run_cli("compare", *ids, "metric=test/loss/mean,test/rce/mean") == 0
    (made,) = (folder / "comparisons").glob("2-runs-*")
    rows = rows_of(made / "settings.csv")
    assert [row["metric"] for row in rows] == ["test/loss/mean"] * 2 + ["test/rce/mean"] * 2
    assert rows[0]["verdict"] == "best"
    assert float(rows[0]["mean"]) <= float(rows[1]["mean"])  # less loss is better
    assert rows[1]["verdict"] == "too few seeds to say"
    assert "one seed a setting" in capsys.readouterr().out


def test_against_a_baseline(real, capsys):
    folder, results = real
    for baseline in ("mlp", results[1].run_id):
        assert run_cli("compare", "experiment=planted", f"baseline={baseline}") == 0
        rows = rows_of(folder / "comparisons" / "planted" / "settings.csv")
        assert {row["model"] for row in rows if row["verdict"] == "baseline"} == {"mlp"}
    assert "baseline" in capsys.readouterr().out


def test_it_needs_neither_torch_nor_mlflow(real):
    code = "import sys\nfrom recap_exp.cli import main\ntry: main(['compare'])\nexcept SystemExit as end: assert not end.code\n"
    code += "print([m for m in ('torch', 'mlflow', 'hydra') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["metric=val/auroc/men"], "did you mean 'val/auroc/mean'"),
        (["baseline=mpl"], "did you mean 'mlp'"),
        (["experiment=plantde"], "did you mean 'planted'"),
        (["nonsense"], "no run 'nonsense'"),
        (["sweep=latest"], "no sweep in"),
        (["metrics=a"], "did you mean 'metric'"),
        (["sweep=a", "experiment=b"], "one of"),
    ],
)
def test_what_is_wrong_is_one_line(real, arguments, said, capsys):
    assert run_cli("compare", *arguments) == 1
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_nothing_there(outputs, capsys):
    assert run_cli("compare") == 1
    assert "no run in" in capsys.readouterr().err


def test_no_finished_run(outputs, capsys):
    for i, status in enumerate(("FAILED", "FAILED", "PRUNED")):
        make_run(outputs, f"r{i}", card={"status": status})
    assert run_cli("compare") == 1
    assert "none of 3 runs is finished: 2 FAILED, 1 PRUNED" in capsys.readouterr().err


def sweep(outputs, count, **more):
    """A sweep of `count` made jobs over two settings, three seeds each."""
    make_run(outputs, "20261124-080000-aaaaaa", card={"command": "sweep"})
    rng = np.random.default_rng(0)
    base = rng.normal(size=500)
    for i in range(count):
        steps, dropout, seed = 100 * (1 + i // 6), 0.1 * (i // 3 % 2), i % 3
        value = 0.7 + 0.01 * (i // 3) + 0.001 * rng.normal()
        make_run(
            outputs,
            f"20261124-0900{i:02}-{i:06x}",
            {"trainer.steps": steps, "model.tower.dropout": dropout, "seed": seed},
            [f"trainer.steps={steps}", f"model.tower.dropout={dropout}", f"seed={seed}"],
            metrics={VAL: value, TEST: value - 0.01, "train/steps": float(steps), "train/best_step": steps / 2},
            curve={steps // 2: {VAL: value - 0.1, "train/loss": 0.5}, steps: {VAL: value, "train/loss": 0.4}},
            card={"sweep": "20261124-080000-aaaaaa", "job": i, "status": "FAILED" if i == 4 else "FINISHED"},
            scores=base + rng.normal(size=500),
            **more,
        )


def test_the_newest_sweep_comes_first_and_failed_jobs_count_in_nothing(outputs, capsys):
    make_run(outputs, "20261124-100000-bbbbbb", metrics={VAL: 0.99}, card={"name": "other"})
    sweep(outputs, 24)
    assert choose() == choose(sweep="20261124-08") == choose(["20261124-080000-aaaaaa"]) == choose(sweep="latest")
    assert run_cli("compare") == 0
    printed = capsys.readouterr().out
    assert "not in the statistics: 1 FAILED" in printed
    assert [p.name for p in (outputs / "comparisons").iterdir()] == ["20261124-080000-aaaaaa"]
    made = outputs / "comparisons" / "20261124-080000-aaaaaa"
    rows = [row for row in rows_of(made / "settings.csv") if row["metric"] == VAL]
    assert sorted(row["n"] for row in rows) == ["2", *["3"] * 7]
    assert [float(row["mean"]) for row in rows] == sorted((float(row["mean"]) for row in rows), reverse=True)
    assert rows[0]["verdict"] == "best"
    assert {"FAILED"} == {row["status"] for row in rows_of(made / "runs.csv") if not row["setting"]}
    page = Page((made / "report.html").read_text())
    assert len(page.pictures) == 10  # two with intervals, four of the settings, two curves, two of the scores
    assert "best setting by val/auroc/mean (the highest) is steps=400 dropout=0.1" in page.text


def test_the_best_is_chosen_by_the_first_metric_and_judged_by_the_others(outputs):
    for i, (val, test) in enumerate(((0.7, 0.9), (0.8, 0.6))):
        make_run(outputs, f"r{i}", {"trainer.steps": i}, metrics={VAL: val, TEST: test})
    assert run_cli("compare") == 0
    rows = rows_of(outputs / "comparisons" / "planted" / "settings.csv")
    assert [(row["metric"], row["trainer.steps"], row["verdict"]) for row in rows if row["verdict"] == "best"] == [
        (VAL, "1", "best"),
        (TEST, "1", "best"),
    ]
    assert float(rows[3]["difference"]) == pytest.approx(0.3)


def test_what_a_reader_must_know(outputs, capsys):
    git = {"mlflow.source.git.commit": "a" * 40, "recap.git.dirty": "true"}
    make_run(outputs, "r0", metrics={VAL: 0.7}, tags=git)
    make_run(outputs, "r1", metrics={VAL: 0.8}, tags=git)
    make_run(outputs, "r2", {"trainer.steps": 7}, metrics={VAL: float("nan")}, digests={"val": "other", "test": "t"})
    assert run_cli("compare") == 0
    printed = capsys.readouterr().out
    assert "1 runs repeat a setting and seed" in printed
    assert f"{VAL} is missing or NaN in 1 of 2 runs: r2" in printed
    assert "not the same rows: the data of val is of 2 kinds" in printed
    assert "not the same code: commits aaaaaaaa+, unknown" in printed


def test_other_candidates_are_not_laid_over_these(outputs):
    rng = np.random.default_rng(0)
    for i in range(3):
        digest = {"val": "v", "test": "other" if i == 2 else "t"}
        make_run(outputs, f"r{i}", {"trainer.steps": i}, metrics={VAL: 0.1 * i}, scores=rng.normal(size=50), digests=digest)
    assert run_cli("compare") == 0
    assert "1 run scored other candidates" in Page((outputs / "comparisons" / "planted" / "report.html").read_text()).text


def test_a_report_of_names_that_are_markup(outputs):
    evil = "<script>alert(1)</script>"
    for i in range(2):
        make_run(outputs, f"r{i}", {"data.name": f"{evil}{i}" * 9, "name": evil}, [f"data={evil}{i}"], metrics={VAL: 0.1 * i})
    assert run_cli("compare") == 0
    (report,) = outputs.glob("comparisons/*/report.html")
    page = Page(report.read_text())
    assert not page.fetched
    assert evil in page.text


def test_nothing_in_the_report_leads_out_of_it(outputs):
    sweep(outputs, 6)
    assert run_cli("compare") == 0
    (report,) = outputs.glob("comparisons/*/report.html")
    text = report.read_text()
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"data:image/svg\+xml;base64,[\w+/=]+", "", text))
    assert "default-src 'none'" in text
