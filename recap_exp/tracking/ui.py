"""`recap-exp ui`: MLflow's user interface on the store that runs go to, for this machine only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

from recap_exp.errors import RecapError
from recap_exp.tracking.destination import PORT, VIEW, artifacts_dir, compare_url, is_server, resolve_uri

HOST = "127.0.0.1"
QUIET = {
    # Each of these starts processes or connections of its own, and together they cost twenty seconds at start.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
}
START_S = 120.0


def ui(port: int = PORT, uri: str | None = None) -> None:
    """Runs until Ctrl-C, on `uri` or else on the store that MLFLOW_TRACKING_URI or the default names.

    A tracking server has an interface of its own: its address is printed.
    """
    uri = resolve_uri(uri)
    if is_server(uri):
        print(f"{uri} is a tracking server; its interface is there")
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RecapError(
                f"port {port} of {HOST} can't be used ({error.strerror}); give another: recap-exp ui --port {port + 1}"
            ) from None
    # A mere kill would leave the server behind; as an exception it comes past the `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    server = start_server(uri, port)
    try:
        wait_until_up(server, port)
        print(f"http://{HOST}:{port} shows {uri}; Ctrl-C ends it")
        for name, url in newest_experiments(uri, port):
            print(f"  {name}: {url}")
        sys.stdout.flush()
        server.wait()
        raise RecapError(f"mlflow's server ended by itself with exit code {server.returncode}")
    except KeyboardInterrupt:
        print()
    finally:
        stop_server(server)


def newest_experiments(uri: str, port: int, most: int = 5) -> Iterator[tuple[str, str]]:
    """Names of the experiments that were written last, each with the address of its runs side by side."""
    from recap_exp.tracking.store import Store
    from recap_exp.tracking.views import TAG

    for experiment in Store(uri).client.search_experiments(order_by=["last_update_time DESC"], max_results=most):
        if TAG + VIEW in experiment.tags:
            yield experiment.name, compare_url(uri, experiment.experiment_id, f"http://{HOST}:{port}")


def start_server(uri: str, port: int) -> subprocess.Popen[bytes]:
    """mlflow's server, in a process group of its own; the store is created first where there is none."""
    from recap_exp.tracking.store import Store

    os.environ |= QUIET
    Store(uri)
    folder = artifacts_dir(uri)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", HOST, "--port", str(port)]
    command += ["--workers", "1", "--uvicorn-opts", "--log-level warning"]
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        command += ["--default-artifact-root", folder.as_uri(), "--artifacts-destination", folder.as_uri()]
    return subprocess.Popen(command, env=os.environ | QUIET, start_new_session=True, stdout=subprocess.DEVNULL)


def wait_until_up(server: subprocess.Popen[bytes], port: int) -> None:
    """Until the server answers."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RecapError(f"mlflow's server ended at its start with exit code {server.returncode}")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise RecapError(f"mlflow's server did not answer on port {port} within {START_S:.0f} s")


def stop_server(server: subprocess.Popen[bytes]) -> None:
    """The server and every process it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, sign)
            server.wait(5)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
