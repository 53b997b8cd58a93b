import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from recap_exp.tracking.environment import git_state, record_environment, versions


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "study")
    (folder / "model.py").write_text("a = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    git(folder, "remote", "add", "origin", "https://me:secret@host/repository.git")
    return folder


def test_clean_and_dirty(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    clean = git_state(repository)
    assert clean is not None
    assert (len(clean.commit), clean.branch, clean.dirty, clean.diff) == (40, "study", False, "")
    assert clean.remote == "https://host/repository.git"
    (repository / "model.py").write_text("a = 2\n")
    (repository / "new.py").write_text("")
    dirty = git_state(repository)
    assert dirty is not None
    assert dirty.dirty and "-a = 1\n+a = 2\n" in dirty.diff and dirty.untracked == ("new.py",)


def test_the_diff_restores_changed_and_new_sources(repository: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    git(tmp_path, "clone", "-q", str(repository), str(copy))
    content = {"model.py": "a = 2\n", "new.py": "b = 1\n\nc = 'é'", "empty.py": "", "conf/mine.yaml": "\r\nrate: 1\n", "notes.txt": "x"}
    for name, text in content.items():
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_bytes(text.encode())
    state = git_state(repository)
    assert state is not None and len(state.untracked) == 4
    patch = tmp_path / "git.diff"
    patch.write_bytes(b"# in no commit: new.py\n" + state.diff.encode())
    git(copy, "apply", str(patch))
    for name, text in content.items():
        assert (copy / name).exists() == (name != "notes.txt")
        assert name == "notes.txt" or (copy / name).read_bytes() == text.encode(), name


def test_every_change_of_code_is_another_state(repository: Path) -> None:
    def changes() -> str:
        state = git_state(repository)
        assert state is not None
        return state.changes

    assert changes() == ""
    (repository / "notes.txt").write_text("x")
    assert changes() == ""
    seen = {changes()}
    for name, content in (("model.py", b"a = 2\n"), ("new.py", b"\xe9"), ("new.py", b"\xe8"), ("renamed.py", b"\xe8"), ("c.yaml", b"")):
        (repository / name).write_bytes(content)
        assert changes() not in seen
        seen.add(changes())


def test_no_commit_no_repository_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) is None


def test_versions() -> None:
    found = versions()
    assert {"torch", "mlflow", "numpy"} <= {n.lower() for n in found["packages"]}
    json.dumps(found)


def test_a_detached_dirty_checkout_is_recorded(repository: Path, open_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from recap_exp.tracking.journal import read

    git(repository, "checkout", "-q", "--detach")
    (repository / "model.py").write_text("a = 2\n")
    monkeypatch.setattr("recap_exp.tracking.environment.checkout", lambda: repository)
    tracker = open_run("r", kind="none")
    record_environment(tracker)
    tracker.finish()
    folder = tracker.run.folder
    (tags,) = [r["v"] for r, _ in read(folder / "records.jsonl") if r["k"] == "tags"]
    assert tags["recap.git.dirty"] == "true" and len(tags["mlflow.source.git.commit"]) == 40
    assert "mlflow.source.git.branch" not in tags
    assert "+a = 2" in (folder / "artifacts/environment/git.diff").read_text()
    assert json.loads((folder / "artifacts/environment/versions.json").read_text())["python"] == tags["recap.python"]
