from __future__ import annotations

import numpy as np
import pytest
from predictions_made import predictions, truths

from recap_exp.evaluation.config import PartitionConfig
from recap_exp.evaluation.evaluate import evaluate
from recap_exp.evaluation.figures import figures
from recap_exp.tasks import Rates

NAMES = ["roc", "precision_recall", "reliability", "probabilities", "truth"]


def drawn(p, **cfg):
    return figures(evaluate([p], "val", PartitionConfig(split="val", **cfg)))


def test_ten_tasks_have_a_panel_each_and_become_files(tmp_path):
    p = predictions(n=400, truths_NT=truths(400))
    made = drawn(p, rates={"task_1": Rates(negative=0.1)})
    assert list(made) == [f"evaluation/val/{name}.png" for name in NAMES]
    for i, (path, figure) in enumerate(made.items()):
        assert [a.get_title().split("\n")[0] for a in figure.axes] == list(p.tasks), path
        assert figure.texts and "400 examples" in figure.texts[0].get_text()
        file = tmp_path / f"{i}.png"
        figure.savefig(file, dpi=40)
        assert file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size > 5000
    labels = [text.get_text() for text in made["evaluation/val/reliability.png"].legends[0].get_texts()]
    assert sorted(labels) == ["calibrated", "model", "perfectly calibrated"]


def test_a_curve_goes_from_corner_to_corner_through_few_points():
    made = drawn(predictions(n=5000), tasks=["task_0"])
    x, y = made["evaluation/val/roc.png"].axes[0].lines[-1].get_data()
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert len(x) < 500 and (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()
    assert "evaluation/val/truth.png" not in made


@pytest.mark.filterwarnings("ignore::recap_exp.metrics.metric.OneClassWarning")
@pytest.mark.parametrize("rows", [3, 30])
def test_few_rows_one_class_and_constant_predictions_can_be_drawn(tmp_path, rows):
    p = predictions(n=rows, truths_NT=truths(rows))
    p.labels_NT[:, 0] = 0
    p.labels_NT[:, 1] = 1
    p.probs_NT[:, 2] = 0.3
    p.probs_NT[:, 3] = 0
    p.probs_NT[:, 4] = 1
    p.truths_NT[:, 3] = 0.1
    p.truths_NT[:, 4] = 0
    for figure in drawn(p, tasks=list(p.tasks[:5])).values():
        figure.savefig(tmp_path / "drawn.png", dpi=30)
