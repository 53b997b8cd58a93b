"""What --help prints: read off conf/, so that it is always true, and printed without importing anything heavy."""

from __future__ import annotations

from pathlib import Path

from recap_exp.paths import conf_dir, outputs_dir

MAIN = """\
recap-exp: experiments on the ranking side of a "For You" feed

  recap-exp train [KEY=VALUE ...]      data -> fit -> evaluate -> score -> record
  recap-exp score run=RUN_ID|latest    score a finished run anew, on its own or other data, without training
  recap-exp data [KEY=VALUE ...]       make a data set or a graph, or convert one
  recap-exp data info PATH             schema, sizes, first rows, distinct values, label rates
  recap-exp rerun RUN_ID [KEY=VALUE]   a run again from its own record: what changed since, and whether every metric is the same
  recap-exp compare [RUN_ID ...]       runs side by side: what differs, what came out, whether it is more than noise
  recap-exp twhin export run=RUN_ID    the tables of embeddings that a TwHIN run learned, as Parquet and NumPy files
  recap-exp twhin neighbours id=ID     what is nearest to a user, post or whatever else has an embedding
  recap-exp ui                         MLflow's pages on this machine's runs
  recap-exp send                       send records that a store could not take at the time

  recap-exp COMMAND --help             what can be chosen, with examples

Runs are written to {outputs} (RECAP_OUTPUTS); data is looked for in RECAP_DATA.
An error is one line; RECAP_DEBUG=1 shows where it came from."""

TRAIN = """\
recap-exp train: one experiment, from data to a recorded run

  recap-exp train                                        the default: a small MaskNet on data with a known signal
  recap-exp train experiment=deskdrop                    a named recipe
  recap-exp train model=masknet_serial trainer.steps=500 another model, fewer steps
  recap-exp train --cfg job --resolve                    print everything that would be used, and stop
  recap-exp train -m model=mlp,masknet_serial seed=0,1   a sweep: every combination, gathered under one run
  recap-exp train -m sweep=tpe 'optimizer.backbone.rate=tag(log,interval(1e-3,1e-1))'      a search
  recap-exp train -m sweep.resume=latest                 go on with a sweep that was stopped
  recap-exp train resume=latest                          go on with a run that was stopped, from its newest checkpoint

Choices (GROUP=NAME), each a file conf/GROUP/NAME.yaml whose keys can be overridden (GROUP.KEY=VALUE):
{groups}"""

SCORE = """\
recap-exp score: a finished run scored anew, on its own or any other data, labels optional, no training

  recap-exp score run=latest scoring=home_2026
  recap-exp score run=20261124-0345 data=dataset data.source.path=my_candidates
  recap-exp score run=latest splits=[val,test]

  run=latest            a run id (ours or MLflow's), the beginning of one, or latest
  checkpoint=best       best or newest
  splits=null           splits to score; null: those that the run scored

Choices:
{groups}"""

DATA = """\
recap-exp data: make a data set or a graph, or convert one

  recap-exp data data=planted                                          make it where `train` would look for it
  recap-exp data data=random_records output.path=records output.format=tfrecord
  recap-exp data data=deskdrop output.path=table output.layout=named
  recap-exp data data=planted_graph output.path=my_graph               edges rather than rows
  recap-exp data info PATH                                             look at a data set or a file

  output.path=null      folder to write; null: made data stays under outputs/data
  output.format=parquet parquet or tfrecord (GZIP, as the original's)
  output.layout=packed  packed (one list column a block) or named (one column a feature)
  output.splits=null    null: all

Choices:
{groups}"""

RERUN = """\
recap-exp rerun: a run again, from its own record

  recap-exp rerun latest                                 the newest finished training
  recap-exp rerun 20261124-0345 --exact                  only if nothing that it depended on has changed
  recap-exp rerun 20261124-0345 seed=3                   the same but for a key
  recap-exp rerun 20261124-0345 model=mlp                the same but for a group, which conf/GROUP/NAME.yaml replaces

Says what differs from the run's record (configuration, code, versions, machine, threads, every byte of the data), runs, links the new
run to the old one, and compares every metric but perf/*: identical (exit code 0), or the points that differ (1). A scoring is rerun by
its id."""

COMPARE = """\
recap-exp compare: what differs between runs, what came out, and whether a difference is more than the noise of seeds

  recap-exp compare                                      the newest sweep, else the runs of the newest experiment
  recap-exp compare sweep=20261124-0345                  the jobs of a sweep (a run id, the beginning of one, or latest)
  recap-exp compare experiment=deskdrop                  every run of a recipe
  recap-exp compare 20261124-0345 20261124-0412          these runs
  recap-exp compare metric=val/auroc/mean,test/rce/mean  judged by these metrics; the first one says which setting is the best
  recap-exp compare baseline=mlp                         against this setting (or a run's id) rather than the best

Runs that differ in nothing but the seed are one setting. Prints tables, and writes runs.csv, settings.csv and a report that opens
offline to outputs/comparisons."""

TWHIN = """\
recap-exp twhin: what a TwHIN run has learned, to look at and to use

  recap-exp twhin export run=latest                      every table into the run's own folder, where rankers read it
  recap-exp twhin export run=20261124-0345 path=tables   into another folder (relative to RECAP_DATA)
  recap-exp twhin neighbours id=1032                     the nodes nearest to this one, by cosine of their vectors
  recap-exp twhin neighbours id=1032 relation=follows    the right ends that the model thinks likeliest for this left end
  recap-exp twhin neighbours id=77 relation=likes side=left k=20

  run=latest            a TwHIN run (ours or MLflow's id), the beginning of its id, or latest
  path=null             of export: the folder; null: the run's own
  id=ID                 of neighbours: a node by its original id; several times for several nodes
  entity=null           its type, where nodes of several types have that id
  k=10                  how many neighbours
  relation=null         judge by the model's own score of an edge of this relation, rather than by cosine
  side=right            with relation: which end is looked for
  index=exact           what searches by cosine: exact or faiss (pip install 'recap-exp[faiss]'); both compare with every node

A table is ENTITY.parquet (columns id, vector, bias, degree: the ends of training edges that a node has), ENTITY.npy (vectors) and
ENTITY.ids.npy. A ranker reads one by the ids of its rows:

  recap-exp train data=deskdrop '+data.embeddings.twhin_item={id: item, table: run:RUN_ID/item}'"""

UI = """\
recap-exp ui [--port 5000]: MLflow's pages on the store of this machine's runs, on 127.0.0.1 only; Ctrl-C ends it"""

SEND = """\
recap-exp send [run=RUN_ID]: sends to MLflow what a run could not send when it was made; without run=, every such run"""

GROUPS = {
    "train": ["experiment", "data", "tasks", "model", "optimizer", "trainer", "evaluation", "scoring", "tracking", "sweep"],
    "score": ["data", "scoring", "tracking", "sweep"],
    "data": ["data", "tasks"],
}
"""What can be chosen in each command."""

TEXTS = {"train": TRAIN, "score": SCORE, "data": DATA, "rerun": RERUN, "compare": COMPARE, "twhin": TWHIN, "ui": UI, "send": SEND}


def main_help() -> str:
    """What `recap-exp --help` prints."""
    return MAIN.format(outputs=outputs_dir())


def command_help(command: str) -> str:
    """What `recap-exp COMMAND --help` prints."""
    return TEXTS[command].replace("{groups}", "\n".join(_choices(g) for g in GROUPS.get(command, ())))


def _choices(group: str) -> str:
    files = sorted((conf_dir() / group).glob("*.yaml"))
    lines = [f"\n  {group}="]
    lines += [f"    {f.stem:<20} {_first_comment(f)}" for f in files]
    return "\n".join(lines)


def _first_comment(file: Path) -> str:
    """The first line of a YAML file that says what it is."""
    for line in file.read_text().splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").removeprefix("Question").strip()
    return ""
