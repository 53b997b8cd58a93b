"""What surrounded a run: versions, machine, state of the code. Free of mlflow; git may be absent, and a wheel has no repository."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from recap_exp.paths import checkout
from recap_exp.tracking.tracker import Tracker

DIFF_LIMIT = 5_000_000
"""Most characters of a diff that are kept."""
SOURCES = (b".py", b".yaml", b".yml", b".toml")
"""What code and configurations are written in: of such files that are in no commit, the content is kept too."""


@dataclass(frozen=True, kw_only=True)
class GitState:
    """The code that ran: a commit, and what was changed since."""

    commit: str
    branch: str
    """Empty where no branch is checked out."""
    remote: str
    diff: str
    """What leads from the commit to the code that ran, for `git apply`: changes of tracked files, and untracked sources as new files."""
    changes: str
    """SHA-256 of the diff's bytes; empty where nothing is changed."""
    untracked: tuple[str, ...]
    """Files that no commit has and .gitignore does not name."""

    @property
    def dirty(self) -> bool:
        """Whether anything differs from the commit."""
        return bool(self.diff or self.untracked)


def git_state(root: Path | None = None) -> GitState | None:
    """State of the checkout that the package runs from (or of `root`); None without git, repository or commit."""
    root = root or checkout()
    if root is None or (commit := _git(root, "rev-parse", "HEAD")) is None:
        return None
    untracked = (_git(root, "ls-files", "--others", "--exclude-standard", "-z") or b"").split(b"\0")[:-1]
    diff = _git(root, "diff", "HEAD", "--no-ext-diff", "--no-color", "--binary", "--src-prefix=a/", "--dst-prefix=b/") or b""
    diff += b"".join(_as_new_file(root, name) for name in sorted(untracked) if name.endswith(SOURCES))
    return GitState(
        commit=commit.decode().strip(),
        branch=_word(root, "symbolic-ref", "--short", "-q", "HEAD"),
        remote=_without_password(_word(root, "remote", "get-url", "origin")),
        diff=diff.decode(errors="replace"),
        changes=hashlib.sha256(diff).hexdigest() if diff else "",
        untracked=tuple(name.decode(errors="replace") for name in untracked),
    )


def _as_new_file(root: Path, name: bytes) -> bytes:
    """What `git diff` says of a file that a commit adds; nothing of one that can't be read."""
    try:
        content = (root / os.fsdecode(name)).read_bytes()
    except OSError:
        return b""
    head = b"diff --git a/%b b/%b\nnew file mode 100644\n" % (name, name)
    if not content:
        return head
    lines = content.removesuffix(b"\n").split(b"\n")
    end = b"" if content.endswith(b"\n") else b"\\ No newline at end of file\n"
    return head + b"--- /dev/null\n+++ b/%b\n@@ -0,0 +1,%d @@\n" % (name, len(lines)) + b"".join(b"+%b\n" % line for line in lines) + end


def versions() -> dict[str, Any]:
    """Python, machine, device and every installed package."""
    return {
        "recap_exp": own_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "cpus": os.cpu_count(),
        "device": _device(),
        "command": " ".join(map(shlex.quote, sys.argv)),
        "packages": packages(),
    }


@cache
def packages() -> dict[str, str]:
    """Every installed package's version; read once a process, since it takes half a second."""
    return dict(sorted({d.name: d.version for d in distributions() if d.name}.items(), key=lambda p: p[0].lower()))


def own_version() -> str:
    """Version of the installed package."""
    try:
        return version("recap-exp")
    except PackageNotFoundError:
        return "unknown"


def record_environment(tracker: Tracker) -> None:
    """Tags for the eye and for search; the whole as artifacts `environment/versions.json` and `environment/git.diff`."""
    found, git = versions(), git_state()
    tags = {
        "mlflow.user": _user(),
        "mlflow.source.name": Path(sys.argv[0]).name or "recap-exp",
        "mlflow.source.type": "LOCAL",
        "recap.version": found["recap_exp"],
        "recap.python": found["python"],
        "recap.torch": found["packages"].get("torch", "none"),
        "recap.device": found["device"],
    }
    if git:
        tags |= {"mlflow.source.git.commit": git.commit, "recap.git.dirty": str(git.dirty).lower()}
        tags |= {f"mlflow.source.git.{k}": v for k, v in (("branch", git.branch), ("repoURL", git.remote)) if v}
        if git.dirty:
            untracked = "".join(f"# in no commit: {path}\n" for path in git.untracked)
            cut = f"\n# cut: the diff has {len(git.diff)} characters\n" if len(git.diff) > DIFF_LIMIT else ""
            tracker.text(untracked + git.diff[:DIFF_LIMIT] + cut, "environment/git.diff")
    tracker.tags(tags)
    tracker.text(json.dumps(found, indent=1) + "\n", "environment/versions.json")


def _git(root: Path, *arguments: str) -> bytes | None:
    """Output of a git command; None where it fails or there is no git. The repository is `root`'s, whatever GIT_DIR says."""
    env = {k: v for k, v in os.environ.items() if k not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")}
    env["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=20, env=env, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _word(root: Path, *arguments: str) -> str:
    return (_git(root, *arguments) or b"").decode(errors="replace").strip()


def _without_password(remote: str) -> str:
    scheme, found, rest = remote.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else remote


def _device() -> str:
    """The accelerator's name where torch is loaded and has one."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else "cpu"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
