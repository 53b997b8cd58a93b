"""The jobs of a search: trials of an Optuna study that lies in the sweep's folder and outlives every process."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recap_exp.sweep.config import PrunerConfig, SearchConfig
from recap_exp.sweep.jobs import JobCard, Jobs
from recap_exp.sweep.space import Space, Varied

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

Objectives = Mapping[str, Literal["maximize", "minimize"]]
NAME = "sweep"
"""Of the study in its file."""


class Study:
    """Draws trials, and learns what became of them."""

    def __init__(self, cfg: SearchConfig, space: Space, objectives: Objectives, jobs: Jobs, file: Path) -> None:
        """file: of the study; made where it is not there, gone on with where it is."""
        import optuna

        self._cfg, self._space, self._objectives, self._jobs = cfg, space, objectives, jobs
        self._distributions = {v.key: distribution(v) for v in space.varied}
        storage = open_storage(file)
        known = {study.study_name for study in storage.get_all_studies()}
        before = len(storage.get_all_trials(storage.get_study_id_from_name(NAME))) if NAME in known else 0
        self._study = optuna.create_study(
            storage=storage,
            study_name=NAME,
            directions=list(objectives.values()),
            sampler=_sampler(cfg, before),
            pruner=build_pruner(cfg.pruner),
            load_if_exists=True,
        )
        self.tell(jobs.all())  # what a sweep that died could not tell any more
        self._drop_orphans()

    @property
    def left(self) -> int:
        """Trials that are still to be drawn."""
        return max(0, self._cfg.trials - len(self._jobs.all()))

    def draw(self, most: int | None) -> list[JobCard]:
        """The next trials, drawn together, at most so many (None: all); none once the study has all of its trials."""
        trials = [self._study.ask(self._distributions) for _ in range(min(self.left, most or self.left))]
        varied = {v.key: v for v in self._space.varied}
        jobs = []
        for trial in trials:
            params = trial.params
            jobs.append(self._space.job({k: params[k] if isinstance(params[k], str) else varied[k].text(params[k]) for k in varied}))
        return self._jobs.add(jobs, [trial.number for trial in trials])

    def tell(self, cards: Sequence[JobCard]) -> None:
        """Ends the trials of jobs that have ended. A value that is not finite counts as a failure: nothing can be learnt from it."""
        from optuna.trial import TrialState

        trials = {trial.number: trial for trial in self._study.get_trials(deepcopy=False)}
        for card in cards:
            if card.trial is None or card.trial not in trials or trials[card.trial].state.is_finished():
                continue
            if card.status == "FINISHED":
                values = [card.values.get(name, float("nan")) for name in self._objectives]
                failed = any(value != value or abs(value) == float("inf") for value in values)
                self._study.tell(card.trial, None if failed else values, TrialState.FAIL if failed else None)
            elif card.status == "PRUNED":
                self._study.tell(card.trial, state=TrialState.PRUNED)
            elif card.status == "FAILED":
                self._study.tell(card.trial, state=TrialState.FAIL)

    def _drop_orphans(self) -> None:
        """Trials that were drawn by a sweep that died before it had made jobs of them."""
        from optuna.trial import TrialState

        known = {card.trial for card in self._jobs.all()}
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number not in known:
                self._study.tell(trial.number, state=TrialState.FAIL)


class Pruning:
    """A trial's own view of the study, in the process that runs it."""

    def __init__(self, file: Path, trial: int, pruner: PrunerConfig) -> None:
        import optuna

        study = optuna.load_study(storage=open_storage(file), study_name=NAME, pruner=build_pruner(pruner))
        stored = study.get_trials(deepcopy=False)[trial]
        self._trial = optuna.trial.Trial(study, stored._trial_id)
        self._open = not stored.state.is_finished()
        self._told = set(stored.intermediate_values)

    def is_behind(self, step: int, value: float) -> bool:
        """Tells the objective's value at an evaluation; True where the trial should end."""
        if not self._open or value != value:
            return False
        if step not in self._told:  # a run that was taken up again comes by steps that it has told of
            self._trial.report(value, step)
        return bool(self._trial.should_prune())


def open_storage(file: Path) -> optuna.storages.RDBStorage:
    """The study's file, which several processes may write to: each waits for its turn."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.storages.RDBStorage(f"sqlite:///{file}", engine_kwargs={"connect_args": {"timeout": 60}})


def build_pruner(cfg: PrunerConfig | None) -> optuna.pruners.BasePruner:
    """Optuna's pruner of this configuration."""
    import optuna

    if cfg is None:
        return optuna.pruners.NopPruner()
    if cfg.kind == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=cfg.startup_trials, n_warmup_steps=cfg.warmup_steps)
    if cfg.kind == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner(reduction_factor=3)
    return optuna.pruners.HyperbandPruner(reduction_factor=3)


def distribution(varied: Varied) -> BaseDistribution:
    """Optuna's distribution over the values of a key."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if varied.low is None or varied.high is None or len(varied.values) == 1:
        return CategoricalDistribution(varied.values)
    if varied.integer:
        step = int(varied.step or 1)
        return IntDistribution(int(min(varied.low, varied.high)), int(max(varied.low, varied.high)), log=varied.log, step=abs(step))
    return FloatDistribution(
        min(varied.low, varied.high), max(varied.low, varied.high), log=varied.log, step=varied.step and abs(varied.step)
    )


def _sampler(cfg: SearchConfig, before: int) -> optuna.samplers.BaseSampler:
    """before: trials that the study has already; a sampler that goes on must not draw the same again."""
    import optuna

    seed = cfg.seed + before
    if cfg.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if cfg.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=max(2, min(50, cfg.trials // 5)))  # five generations
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # multivariate, in Optuna 4
        return optuna.samplers.TPESampler(seed=seed, multivariate=True)
