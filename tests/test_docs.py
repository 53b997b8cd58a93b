"""What README, docs/ and the recipes tell a reader to type is typed here, at small sizes; and links lead somewhere.

A page's ```bash and ```python blocks run from top to bottom in one folder, as a reader would run them. Lines `$ recap-exp ...` in other
blocks must print the lines beneath them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from recap_exp.cli import COMMANDS, main
from recap_exp.composition import compose
from recap_exp.config import CommandConfig, ExperimentConfig, GraphExperimentConfig
from recap_exp.model.config import MaskNetConfig, MLPConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = sorted((ROOT / "conf" / "experiment").glob("*.yaml"))
ONLY_CHECKED = "# needs "
"""A comment behind a command that wants what a test has not (a GPU, a tracking server): its configuration is composed and checked."""


pytestmark = pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="the pages stay in the repository")


# --- what a page says


@dataclass(frozen=True)
class Block:
    """A fenced or indented block and the line it begins on."""

    language: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    """Blocks of a Markdown page: ```language fences, and text indented by four under an empty line (language "")."""
    lines = page.splitlines()
    at = 0
    while at < len(lines):
        begin = at
        if fence := re.fullmatch(r"```(\w*)", lines[at].rstrip()):
            at += 1
            while not lines[at].startswith("```"):
                at += 1
            yield Block(fence[1] or "text", "\n".join(lines[begin + 1 : at]), begin + 2)
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            yield Block("", "\n".join(line[4:] for line in lines[begin:at]).rstrip(), begin + 1)
            continue
        at += 1


def logical_lines(text: str) -> Iterator[str]:
    """Shell lines, those that end in a backslash joined, empty ones and comments left out."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


# --- running it


@dataclass
class Finished:
    """A command that ran."""

    code: int
    printed: str


def run_cli(arguments: Sequence[str], command: list[str]) -> Finished:
    """`recap-exp ARGUMENTS` in this process; `command` is what stands in sys.argv."""
    printed, argv = io.StringIO(), sys.argv
    sys.argv = command
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), pytest.raises(SystemExit) as ended:
            main(list(arguments))
    finally:
        sys.argv = argv
    return Finished(int(ended.value.code or 0), printed.getvalue())


def shrunk(arguments: Sequence[str]) -> list[str]:
    """The command with overrides behind it that only make it small: rows, steps, batches, widths, pictures; and no store."""
    command, *rest = arguments
    flags = [a for a in rest if a.startswith("-")]
    if command not in ("train", "score", "data") or "info" in rest or "--cfg" in flags or "--help" in flags:
        return list(arguments)
    store = (
        []
        if command == "data" or any(a.startswith("tracking") for a in rest)
        else ["tracking=none"] + (["tracking.log_model=true"] if command == "train" else [])
    )
    overrides = [a for a in rest if not a.startswith("-")]
    cfg = compose(command, [first_of_sweep(o) for o in overrides])
    small = []
    data = getattr(cfg, "data", None)
    if data is not None and data.source.kind in ("random", "planted", "null"):
        rows = 400 if data.source.kind != "random" else 96
        small += [f"data.source.rows={{{', '.join(f'{split}: {rows}' for split in data.source.rows)}}}"]
    if data is not None and data.source.kind == "halves":
        small += ["data.source.positive_rows=30", "data.source.negative_rows=30"]
    if data is not None and data.source.kind == "planted_graph" and "graph" in getattr(data, "kind", ""):
        small += [
            "data.source.users=40",
            "data.source.posts=60",
            "data.source.communities=4",
            "data.source.edges={train: 600, val: 60, test: 60}",
        ]
    if isinstance(cfg, ExperimentConfig):
        small += [s for s in small_training(cfg) if not (models_vary(overrides) and s.startswith("model."))]
        for name, embedding in cfg.data.embeddings.items():
            if embedding.of_recipe:  # which the test has run at a small size
                small += [f"data.embeddings.{name}.table=run:latest/{embedding.of_recipe[1]}"]
    if isinstance(cfg, GraphExperimentConfig):
        small += ["evaluation.pictures=false", "trainer.steps=2", "trainer.batch_size=32", "trainer.evaluate_every=2", "model.dim=8"]
    return [*arguments, *small, *store]


def recipes_of(arguments: Sequence[str]) -> set[str]:
    """The recipes whose embeddings a training reads."""
    command, *rest = arguments
    if command != "train" or "--help" in rest or "--cfg" in rest:
        return set()
    cfg = compose(command, [first_of_sweep(a) for a in rest if not a.startswith("-")])
    tables = cfg.data.embeddings.values() if isinstance(cfg, ExperimentConfig) else ()
    return {table.of_recipe[0] for table in tables if table.of_recipe}


def models_vary(overrides: Sequence[str]) -> bool:
    """Whether a sweep's jobs have models of several kinds, which don't have the same keys."""
    return any(o.startswith("model=") and "," in o for o in overrides)


def first_of_sweep(override: str) -> str:
    """The first job of a sweep `key=a,b`."""
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return override
    value = parsed.value().start if parsed.is_interval_sweep() else next(parsed.sweep_string_iterator())
    return f"{parsed.get_key_element()}={value}"


def small_training(cfg: ExperimentConfig) -> list[str]:
    """A few small steps of a narrow ranker; no pictures of the evaluation, which cost seconds a partition."""
    small = ["evaluation.pictures=[]", "trainer.steps=2", f"trainer.batch_size={min(32, cfg.trainer.batch_size)}"]
    if cfg.trainer.evaluate_every is not None:
        small += ["trainer.evaluate_every=2"]
    for group in ("backbone", "tower"):
        schedule = getattr(cfg.optimizer, group)
        if schedule is not None and schedule.kind == "linear_ramp_cosine":
            small += [f"optimizer.{group}.ramp=1", f"optimizer.{group}.end=2"]
    backbone = getattr(cfg.model, "backbone", None)  # a baseline has none
    if isinstance(backbone, MaskNetConfig) and backbone.blocks[0].output > 64:
        block = "{output: 8, aggregation: 8, reduction_factor: null, input_layer_norm: false, activation: false}"
        small += [f"model.backbone.blocks=[{', '.join([block] * len(backbone.blocks))}]"]
        small += ["model.backbone.mlp.layers=[8]"] if backbone.mlp else []
    if isinstance(backbone, MLPConfig):
        small += ["model.backbone.layers=[8]"]
    return small


def run_line(line: str, where: str) -> None:
    """One line of a shell block. Only `recap-exp` (with variables before it), `mkdir` and `export` mean anything to a test."""
    words = shlex.split(line, comments=True)
    variables = []
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        variables.append(words.pop(0))
    if words[:1] == ["export"]:
        os.environ.update(w.split("=", 1) for w in words[1:])
        return
    assert words and words[0] == "recap-exp", f"{where}: a test can't run `{line}`; write it so that it can, or in another kind of block"
    arguments = words[1:]
    if ONLY_CHECKED in line:
        compose(arguments[0], arguments[1:])
        return
    for recipe in recipes_of(arguments):
        run_line(f"recap-exp train experiment={recipe}", where)
    small = shrunk(arguments)
    before = {name: os.environ.get(name) for name in (v.split("=", 1)[0] for v in variables)}
    os.environ.update(v.split("=", 1) for v in variables)
    try:
        done = run_cli(small, ["recap-exp", *arguments])
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    assert done.code == 0, f"{where}: {line}\n{done.printed[-2000:]}"


def run_python(text: str, names: dict[str, object], where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python block; what it composes is made small, and `names` is what earlier blocks left."""
    import recap_exp

    def small(command: str = "train", overrides: Sequence[str] = ()) -> CommandConfig:
        _, *rest = shrunk([command, *overrides])
        return compose(command, rest)

    with monkeypatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(recap_exp, "compose", small, raising=False)
        exec(compile(text, where, "exec"), names)


@pytest.fixture(autouse=True)
def no_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages' `recap-exp ui` ends when its arguments are understood; a real one is started in tests/tracking."""
    from recap_exp.tracking import ui

    monkeypatch.setattr(ui, "ui", lambda port: None)


def run_page(page: str, name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Everything on the page that can be run; how much that was."""
    names: dict[str, object] = {"__name__": "__main__"}
    ran = 0
    for block in blocks(page):
        where = f"{name}:{block.line}"
        if block.language == "bash":
            for line in logical_lines(block.text):
                run_line(line, where)
                ran += 1
        elif block.language == "python":
            run_python(block.text, names, where, monkeypatch)
            ran += 1
        elif block.language in ("", "text", "console"):
            ran += check_session(block.text, where)
    return ran


def check_session(text: str, where: str) -> int:
    """Lines `$ recap-exp ...` of a block print the lines beneath them, up to the next such line."""
    sessions = re.findall(r"^\$ recap-exp (.*)\n((?:(?!\$ ).*(?:\n|$))*)", text, flags=re.MULTILINE)
    for command, expected in sessions:
        done = run_cli(shlex.split(command, comments=True), ["recap-exp", *shlex.split(command, comments=True)])
        for line in filter(None, map(str.strip, expected.splitlines())):
            assert line in done.printed, f"{where}: $ recap-exp {command}\nprinted\n{done.printed}\ninstead of\n{line}"
    return len(sessions)


# --- the reader's place


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader has it after a while: a log like Deskdrop's under data/, and one finished run."""
    folder = tmp_path_factory.mktemp("reader")
    sys.path.insert(0, str(ROOT / "tests" / "data"))
    try:
        from test_events_deskdrop import deskdrop_log
    finally:
        sys.path.pop(0)
    (folder / "data" / "deskdrop").mkdir(parents=True)
    deskdrop_log(1500).to_csv(folder / "data" / "deskdrop" / "users_interactions.csv", index=False)
    graphs(folder / "data")
    with reader_in(folder):
        run_line("recap-exp train", "the run that pages take for granted")
    return folder


def graphs(folder: Path) -> None:
    """Graphs of the form, but not the size, of CoDEx-S and of the Higgs log."""
    rng = np.random.default_rng(0)
    ends, relations, times = rng.integers(40, size=(2, 500)), rng.integers(3, size=500), np.arange(500)
    (folder / "codex-s").mkdir()
    (folder / "higgs").mkdir()
    for split, of in (("train", slice(400)), ("valid", slice(400, 450)), ("test", slice(450, 500))):
        lines = zip(ends[0, of], relations[of], ends[1, of], strict=True)
        (folder / "codex-s" / f"{split}.txt").write_text("".join(f"Q{h}\tP{r}\tQ{t}\n" for h, r, t in lines))
    split = np.repeat(["train", "valid", "test"], [400, 50, 50])
    pq.write_table(
        pa.table({"h": ends[0], "r": relations, "tl": ends[1], "t": times, "split": split}), folder / "higgs/higgs_core10.parquet"
    )


@pytest.fixture
def reader(world: Path, tmp_path: Path) -> Path:
    """A copy of that folder, so that `run=latest` is that run whatever other pages did."""
    return shutil.copytree(world, tmp_path / "reader")


@contextlib.contextmanager
def reader_in(folder: Path) -> Iterator[None]:
    """Working folder, outputs and data of the reader, one thread."""
    before, environment = Path.cwd(), dict(os.environ)
    os.chdir(folder)
    os.environ.update(RECAP_OUTPUTS=str(folder / "outputs"), RECAP_DATA=str(folder / "data"))
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(environment)


# --- the tests


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_a_page_tells_to_type_works(page: Path, reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with reader_in(reader):
        run_page(page.read_text(), page.name, monkeypatch)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_runs_as_its_first_lines_say(recipe: Path, reader: Path) -> None:
    found = re.search(r"^# Run\s+(recap-exp .*)$", recipe.read_text(), flags=re.MULTILINE)
    assert found, f"{recipe.name} does not say how it is run"
    command = re.sub(r"\s{2,}\(.*", "", found[1])
    assert f"experiment={recipe.stem}" in command
    with reader_in(reader):
        run_line(command, recipe.name)


def test_pages_and_recipes_have_something_to_run() -> None:
    commands = [line for page in PAGES for b in blocks(page.read_text()) if b.language == "bash" for line in logical_lines(b.text)]
    assert len(commands) >= 15
    assert {shlex.split(c, comments=True)[1] for c in commands if c.startswith("recap-exp")} == set(COMMANDS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("```bash\nrecap-exp train modle=mlp\n```", "modle"),
        ("```bash\nrecap-exp data info nowhere.parquet\n```", "nowhere.parquet"),
        ("```bash\nrecap-exp train model=mlp \\\n  trainer.stpes=3  # comment\n```", "stpes"),
        ("```bash\nrecap-exp train trainer.devcie=cuda  # needs a GPU\n```", "devcie"),
        ("```bash\nrecap-exp ui --prot 3\n```", ""),
        ("```bash\ncurl example.com\n```", "curl"),
        ("```python\nimport recap_exp\nrecap_exp.compose('train', ['model=mpl'])\n```", "mpl"),
        ("Text\n\n    $ recap-exp train model=mpl\n    recap-exp: no such thing\n", "no such thing"),
    ],
)
def test_a_page_that_is_wrong_fails(wrong: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with reader_in(tmp_path), pytest.raises((AssertionError, Exception)) as failed:
        run_page(wrong, "page.md", monkeypatch)
    assert said in str(failed.value)


def test_links_and_pictures_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            found = (page.parent / path).resolve() if path else page
            assert found.exists(), f"{page.name}: {target} leads nowhere"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", found.read_text(), flags=re.MULTILINE)
                assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, (
                    f"{page.name}: no heading {target}"
                )


def test_set_up_is_one_line_each_and_ci_runs_the_second() -> None:
    readme = (ROOT / "README.md").read_text()
    setups = [b.text for b in blocks(readme) if "-m venv" in b.text]
    assert len(setups) == 2
    assert all(len(text.splitlines()) == 1 for text in setups)
    assert setups[0].endswith("recap-exp train")
    assert "-m pytest" in setups[1]
    script = (ROOT / ".ci" / "run").read_text()
    finder = re.search(r"command=\$\((.*)\)", script)
    assert finder
    found = subprocess.run(["bash", "-c", finder[1]], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.strip() == setups[1]
