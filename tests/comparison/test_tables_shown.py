"""What the terminal's tables show of settings."""

from __future__ import annotations

from made_runs import make_run

from recap_exp.comparison.compare import compare
from recap_exp.comparison.read import read_runs
from recap_exp.comparison.tables import terminal_table
from recap_exp.terminal import console


def test_a_list_is_shown_as_it_is_written(outputs, capsys):
    runs = [
        make_run(outputs, f"run-{i}", {"model.blocks": value}, [f"model.blocks={said}"], {"val/auroc/mean": 0.8 + i / 100})
        for i, (value, said) in enumerate([(None, "null"), (["continuous", "binary"], "[continuous,binary]")])
    ]
    console().print(terminal_table(compare(read_runs(runs), ["val/auroc/mean"]), "val/auroc/mean"))
    assert "continuous" in capsys.readouterr().out
