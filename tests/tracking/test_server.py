"""A real tracking server, and the user interface, on loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recap_exp.errors import RecapError
from recap_exp.tracking.ui import HOST, QUIET, stop_server, ui, wait_until_up


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, made_store: Path) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    (folder / "mlflow.db").write_bytes(made_store.read_bytes())
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    process = subprocess.Popen(command, env=os.environ | QUIET, start_new_session=True, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        wait_until_up(process, port)
        yield f"http://{HOST}:{port}"
    finally:
        stop_server(process)
    assert process.poll() is not None


def test_a_run_goes_to_a_server(server: str, outputs: Path, open_run: Any, no_sender: None) -> None:
    from mlflow import MlflowClient

    from recap_exp.tracking.run_file import read_run
    from recap_exp.tracking.send import send

    tracker = open_run("r", uri=server)
    tracker.params({"seed": 1})
    for step in range(1000):
        tracker.metrics({"train/loss": float(step), "train/loss/like": float("nan")}, step)
    tracker.metrics({"val/rce/like": float("inf")}, 1000)
    tracker.dataset("planted", "digest", "train", "/d", {"continuous": "continuous[40]"}, {"rows": 3})
    tracker.text("a: 1\n", "config.yaml")
    folder = outputs / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "data/weights").write_text("w")
    tracker.artifact(folder, "model")
    tracker.finish()
    assert send("r") == 0

    client = MlflowClient(server)
    run_id = read_run(outputs / "runs/r")["mlflow_run_id"]
    run = client.get_run(run_id)
    assert read_run(outputs / "runs/r")["url"] == f"{server}/#/experiments/{run.info.experiment_id}/runs/{run_id}"
    assert (run.info.status, run.data.params) == ("FINISHED", {"seed": "1"})
    assert [(m.step, m.value) for m in client.get_metric_history(run_id, "train/loss")] == [(s, float(s)) for s in range(1000)]
    assert len(client.get_metric_history(run_id, "train/loss/like")) == 1000
    assert run.inputs.dataset_inputs[0].dataset.name == "planted"
    loaded = Path(client.download_artifacts(run_id, "model", str(outputs)))
    assert (loaded / "data/weights").read_text() == "w"
    assert not (outputs / "mlflow.db").exists()
    assert ui(uri=server) is None  # the server has an interface of its own


def test_the_interface_opens_and_closes(store_ready: Path, open_run: Any, no_sender: None) -> None:
    from recap_exp.tracking.send import send
    from recap_exp.tracking.views import unpacked

    tracker = open_run("r")
    tracker.params({"seed": 1})
    tracker.metrics({"val/auroc/mean": 0.8, "val/auroc/like": 0.8, "train/loss": 1.0, "score/mean": 0.1}, 1)
    tracker.finish()
    assert send() == 0
    port = free_port()
    program = f"from recap_exp.tracking.ui import ui; ui(port={port})"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"http://{HOST}:{port} shows sqlite:///{store_ready}/mlflow.db")
        link = process.stdout.readline().strip()
        assert link.startswith(f"recipe: http://{HOST}:{port}/#/experiments/1/runs?viewStateShareKey=")
        with urllib.request.urlopen(f"http://{HOST}:{port}/ajax-api/2.0/mlflow/experiments/get?experiment_id=1") as answer:
            tags = {t["key"]: t["value"] for t in json.load(answer)["experiment"]["tags"]}
        view = unpacked(tags["mlflow.sharedViewState." + link.rpartition("=")[2]])
        assert view["selectedColumns"] == ["params.`seed`", "metrics.`val/auroc/mean`", "metrics.`score/mean`"]
        with pytest.raises(RecapError, match=f"port {port} of {HOST} can't be used .* --port {port + 1}"):
            ui(port=port)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.terminate()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that the server closed may linger
        probe.bind((HOST, port))  # nobody holds it any more
