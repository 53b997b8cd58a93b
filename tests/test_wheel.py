"""A built wheel holds the configurations and runs from any working folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile

from recap_exp.paths import checkout


def test_a_wheel_composes_and_trains_away_from_the_checkout(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(checkout())]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        metadata = next(archive.read(n).decode() for n in archive.namelist() if n.endswith("METADATA"))
    assert "file:" not in metadata  # no path of the machine that built it
    away = tmp_path / "away"
    away.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "RECAP_OUTPUTS"} | {"PYTHONPATH": str(site)}
    small = ["data.source.rows={train: 200, val: 60, test: 60}", "trainer.steps=4", "trainer.batch_size=32", "evaluation.pictures=[]"]
    train = [sys.executable, "-m", "recap_exp", "train", *small, "tracking=none"]
    done = subprocess.run(train, capture_output=True, text=True, cwd=away, env=environment)
    assert done.returncode == 0, done.stderr
    assert (away / "outputs" / "runs").is_dir()
    where = [sys.executable, "-c", "import recap_exp; print(recap_exp.__file__)"]
    assert str(site) in subprocess.run(where, capture_output=True, text=True, cwd=away, env=environment).stdout
