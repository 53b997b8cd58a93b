"""The command line: help that teaches and loads nothing, errors of one line, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from recap_exp.cli import COMMANDS, main


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:

    return subprocess.run(
        [sys.executable, "-m", "recap_exp", *arguments], capture_output=True, text=True, env={**os.environ, **env}, timeout=300
    )


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS)])
def test_help_teaches_and_loads_nothing_heavy(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "recap-exp" in capsys.readouterr().out
    code = f"""
import sys
from recap_exp.cli import COMMANDS, main
try: main({arguments!r})
except SystemExit: pass
print([m for m in ("torch", "mlflow", "hydra", "pydantic", "numpy", "pyarrow") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_lists_every_choice(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    for name in ("masknet_serial", "deskdrop", "home_2026", "fork_study", "adam_cosine"):
        assert name in text


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "trainer.stps=3"], "did you mean 'steps'"),
        (["train", "model=mpl"], "did you mean 'mlp'"),
        (["train", "experiment=deskdorp"], "did you mean 'deskdrop'"),
        (["score", "run=nonsense"], "no run 'nonsense'"),
        (["score", "run=latest"], "no finished run"),
        (["data", "info"], "takes one path"),
        (["data", "info", "/nowhere"], "/nowhere"),
        (["send", "rnu=3"], "run=RUN_ID"),
    ],
)
def test_an_error_is_one_line_and_exit_code_1(arguments, part, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    errors = capsys.readouterr().err.strip()
    assert "\n" not in errors
    assert errors.startswith("recap-exp: ")
    assert part in errors


def test_a_wrong_configuration_shows_no_stack_trace_unless_asked():
    done = run("train", "trainer.steps=abc")
    assert done.returncode == 1
    assert done.stderr.strip() == "recap-exp: trainer.steps='abc': must be an integer"
    assert "Traceback" in run("train", "trainer.steps=abc", RECAP_DEBUG="1").stderr


def test_cfg_job_resolve_shows_everything():
    done = run("train", "--cfg", "job", "--resolve")
    assert done.returncode == 0, done.stderr
    for key in ("batch_norm", "shuffle_rows", "negative_feedback_v2", "keep_checkpoints"):
        assert key in done.stdout


def test_without_a_command_the_help_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "recap-exp train" in capsys.readouterr().out
