"""Which runs a comparison is of."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recap_exp.errors import RecapError, nearest
from recap_exp.paths import runs_dir
from recap_exp.runs import RunFolder, find_run


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Run folders, and what they are called together."""

    folders: list[Path]
    title: str
    """`sweep 20261124-…`"""
    name: str
    """Of the folder that is written."""


def choose(ids: Sequence[str] = (), sweep: str | None = None, experiment: str | None = None) -> Chosen:
    """The jobs of a sweep, the runs of a recipe, or the runs named; with nothing the newest sweep, else the newest recipe.

    ids: as in `find_run`; a sweep's id means its jobs. Raises RecapError where there is nothing of the kind.
    """
    if sweep is not None:
        return _sweep(find_run(sweep, "sweep", finished=None))
    cards = {folder: folder.card for folder in (RunFolder(p.parent) for p in sorted(runs_dir().glob("*/run.json")))}
    if experiment is not None:
        names = dict.fromkeys(card.get("name", "") for card in cards.values() if card.get("command") == "train")
        if experiment not in names:
            has = ", ".join(names) or "none"
            raise RecapError(f"experiment={experiment}: no run of it in {runs_dir()}; there are {has}{nearest(experiment, names)}")
        mine = [f.path for f, card in cards.items() if card.get("command") == "train" and card.get("name") == experiment]
        return Chosen(folders=mine, title=f"experiment {experiment}", name=re.sub(r"[^\w.-]+", "-", experiment).strip(".-"))
    if ids:
        folders: dict[Path, None] = {}
        for text in ids:
            found = find_run(text) if text == "latest" else find_run(text, command=None)
            jobs = _sweep(found).folders if found.card.get("command") == "sweep" else [found.path]
            folders |= dict.fromkeys(jobs)
        if len(ids) == 1 and len(folders) > 1:
            return _sweep(find_run(ids[0], command=None))
        digest = hashlib.sha256(" ".join(sorted(f.name for f in folders)).encode()).hexdigest()[:6]
        return Chosen(folders=list(folders), title=f"{len(folders)} run{'s' * (len(folders) != 1)}", name=f"{len(folders)}-runs-{digest}")
    newest = {card.get("command"): folder for folder, card in cards.items()}
    if "sweep" in newest:
        return _sweep(newest["sweep"])
    if "train" in newest:
        return choose(experiment=cards[newest["train"]].get("name", ""))
    raise RecapError(f"no run in {runs_dir()} to compare: run `recap-exp train` first")


def _sweep(folder: RunFolder) -> Chosen:
    cards = ((path.parent, RunFolder(path.parent).card) for path in sorted(runs_dir().glob("*/run.json")))
    jobs = sorted((card.get("job", 0), path) for path, card in cards if card.get("sweep") == folder.id)
    if not jobs:
        raise RecapError(f"sweep={folder.id} has no job yet: {folder.path}")
    return Chosen(folders=[path for _, path in jobs], title=f"sweep {folder.id}", name=folder.id)
