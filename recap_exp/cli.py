"""`recap-exp COMMAND ...`: names to functions, imported only when called."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from recap_exp.errors import ConfigError, RecapError, nearest
from recap_exp.help import command_help, main_help
from recap_exp.paths import conf_dir, outputs_dir
from recap_exp.training import torchrun


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 an error in one line, 2 a wrong call, 130 Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        sys.exit(dispatch(arguments))
    except KeyboardInterrupt:
        _fail("stopped by Ctrl-C", 130)
    except RecapError as error:
        if os.environ.get("RECAP_DEBUG") == "1":
            raise
        _fail(str(error), 1)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def dispatch(arguments: list[str]) -> int:
    """Calls the command; answers questions for help without importing anything heavy."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(main_help())
        return 0 if arguments else 2
    command, rest = arguments[0], arguments[1:]
    if command == "--version":
        from importlib.metadata import version

        print(version("recap-exp"))
        return 0
    if command not in COMMANDS:
        raise ConfigError(f"unknown command '{command}': allowed are {', '.join(COMMANDS)}{nearest(command, COMMANDS)}")
    if any(a in ("-h", "--help") for a in rest):
        print(command_help(command))
        return 0
    if command not in ("train", "rerun"):
        torchrun.require_alone(f"recap-exp {command}")
    elif torchrun.rank() > 0:
        from recap_exp.training.processes import accompany_torchrun

        accompany_torchrun()
        return 0
    return COMMANDS[command](rest)


def _fail(message: str, code: int) -> None:
    print(f"recap-exp: {message}", file=sys.stderr)
    sys.exit(code)


def _hydra(command: str, arguments: list[str]) -> int:
    """Lets Hydra compose conf/COMMAND.yaml with the overrides, once or, under `-m`, for every job of a sweep, and run it."""
    import hydra

    from recap_exp.config_errors import explain_composition
    from recap_exp.job import run_composed

    os.environ.setdefault("RECAP_OUTPUTS", str(outputs_dir()))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us, to be said in one line
    failures: list[Exception] = []

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=command)
    def task(composed: Any) -> None:
        try:
            run_composed(command, composed)
        except Exception as error:  # Hydra would print it in its own words
            failures.append(error if os.environ.get("RECAP_DEBUG") == "1" else error.with_traceback(None))  # frees what the job held

    sys.argv = [f"recap-exp {command}", *arguments]
    try:
        task()
    except Exception as error:
        if type(error).__module__.split(".")[0] in ("hydra", "omegaconf"):
            raise explain_composition(error, command, [a for a in arguments if not a.startswith("-")]) from error
        raise
    if failures:
        raise failures[0]
    return 0


def train(arguments: list[str]) -> int:
    """recap-exp train"""
    return _hydra("train", arguments)


def score(arguments: list[str]) -> int:
    """recap-exp score"""
    return _hydra("score", arguments)


def data(arguments: list[str]) -> int:
    """recap-exp data, recap-exp data info PATH"""
    if arguments[:1] == ["info"]:
        if len(arguments) != 2:
            raise ConfigError("recap-exp data info takes one path: a data set's folder, or a Parquet, TFRecord or CSV file")
        from recap_exp.data.info import info

        info(arguments[1])
        return 0
    return _hydra("data", arguments)


def rerun(arguments: list[str]) -> int:
    """recap-exp rerun"""
    for flag in (a for a in arguments if a.startswith("-") and a != "--exact"):
        raise ConfigError(f"recap-exp rerun knows --exact, not {flag}")
    words = [a for a in arguments if a != "--exact"]
    if not words or "=" in words[0]:
        raise ConfigError(
            "recap-exp rerun takes a run's id, or latest, and then overrides: recap-exp rerun RUN_ID [KEY=VALUE ...] [--exact]"
        )
    from recap_exp.rerun import rerun as run_again

    return min(1, len(run_again(words[0], words[1:], exact="--exact" in arguments).differing))


def ui(arguments: list[str]) -> int:
    """recap-exp ui"""
    import argparse

    parser = argparse.ArgumentParser(prog="recap-exp ui")
    parser.add_argument("--port", type=int, default=5000)
    given = parser.parse_args(arguments)
    from recap_exp.tracking.ui import ui as serve

    serve(port=given.port)
    return 0


def send(arguments: list[str]) -> int:
    """recap-exp send"""
    from recap_exp.tracking.send import send as send_runs

    pairs = dict(a.split("=", 1) for a in arguments if "=" in a)
    if set(pairs) - {"run"} or len(pairs) != len(arguments):
        raise ConfigError(f"recap-exp send takes run=RUN_ID or nothing, not {' '.join(arguments)}")
    return min(1, send_runs(pairs.get("run", "all")))


def compare(arguments: list[str]) -> int:
    """recap-exp compare"""
    allowed = ("sweep", "experiment", "metric", "baseline")
    pairs = dict(a.split("=", 1) for a in arguments if "=" in a)
    for key in pairs.keys() - set(allowed):
        raise ConfigError(f"recap-exp compare takes run ids and {', '.join(f'{k}=' for k in allowed)}, not {key}={nearest(key, allowed)}")
    ids = [a for a in arguments if "=" not in a]
    if bool(ids) + ("sweep" in pairs) + ("experiment" in pairs) > 1:
        raise ConfigError("recap-exp compare takes one of: run ids, sweep=, experiment=")
    from recap_exp.comparison.command import compare_and_report

    metrics = [m for m in pairs.get("metric", "").split(",") if m]
    compare_and_report(ids, pairs.get("sweep"), pairs.get("experiment"), metrics, pairs.get("baseline"))
    return 0


def twhin(arguments: list[str]) -> int:
    """recap-exp twhin export, recap-exp twhin neighbours"""
    keys = {"export": ("run", "path"), "neighbours": ("run", "id", "entity", "k", "relation", "side", "index")}
    what, rest = (arguments or [""])[0], [argument.partition("=") for argument in arguments[1:]]
    if what not in keys:
        raise ConfigError(f"recap-exp twhin takes export or neighbours, and then KEY=VALUE, not '{what}'{nearest(what, keys)}")
    for key, sign, _ in rest:
        if not sign or key not in keys[what]:
            allowed = ", ".join(f"{k}=" for k in keys[what])
            raise ConfigError(f"recap-exp twhin {what} takes {allowed}, not {key}{sign}{nearest(key, keys[what])}")
    values = {"run": "latest"} | {key: value for key, _, value in rest}
    from recap_exp.twhin import command

    if what == "export":
        command.export(**values)
    else:
        command.show_neighbours(**values | {"id": [value for key, _, value in rest if key == "id"]})  # type: ignore[arg-type]
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "score": score,
    "data": data,
    "rerun": rerun,
    "compare": compare,
    "twhin": twhin,
    "ui": ui,
    "send": send,
}
