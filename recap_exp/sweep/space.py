"""What varies in a sweep: overrides whose values are many, read by Hydra's own grammar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from recap_exp.errors import ConfigError

Job = tuple[str, ...]
"""The overrides of one job."""


@dataclass(frozen=True)
class Varied:
    """One key or group with its many values."""

    key: str
    values: tuple[str, ...] = ()
    """Each as it is written in an override; none for an interval."""
    low: float | None = None
    high: float | None = None
    step: float | None = None
    """Between the values of a range of numbers."""
    log: bool = False
    """Even on a logarithmic scale."""
    integer: bool = False

    @property
    def corners(self) -> tuple[str, ...]:
        """Values that stand for all of them when a configuration is checked: all, or the ends of an interval."""
        return self.values or (self.text(self.low), self.text(self.high))

    def text(self, value: float | None) -> str:
        """A number as it is written in an override: four digits tell one trial from another, and the run's name stays readable."""
        assert value is not None
        return str(int(value)) if self.integer else repr(float(f"{value:.4g}"))


@dataclass(frozen=True)
class Space:
    """What every job is given, and what varies from one to the next."""

    fixed: Job
    varied: tuple[Varied, ...]

    @property
    def keys(self) -> list[str]:
        """Keys and groups that vary, without Hydra's prefixes."""
        return [v.key.lstrip("+") for v in self.varied]

    def job(self, values: Mapping[str, str]) -> Job:
        """The overrides of the job with these values, by key."""
        return (*self.fixed, *(f"{v.key}={values[v.key]}" for v in self.varied))

    def grid(self) -> list[Job]:
        """Every combination; the last key changes fastest.

        Raises:
            ConfigError: a key varies over an interval.
        """
        for v in self.varied:
            if not v.values:
                raise ConfigError(f"{v.key} varies over an interval, which a grid can't enumerate: give values, or search it (sweep=tpe)")
        keys = [v.key for v in self.varied]
        return [self.job(dict(zip(keys, values, strict=True))) for values in product(*(v.values for v in self.varied))]

    def corners(self) -> list[Job]:
        """Jobs that together have every value at least once: what is wrong with a value shows in one of them."""
        first = {v.key: v.corners[0] for v in self.varied}
        others = [self.job({**first, v.key: value}) for v in self.varied for value in v.corners[1:]]
        return [self.job(first), *others]


def read_space(space: Mapping[str, str], overrides: Sequence[str]) -> Space:
    """The space that `sweep.space` and the command line's overrides describe together; an override takes the place of an equal key.

    Raises:
        ConfigError: text that Hydra's grammar does not know.
    """
    parser = OverridesParser.create()
    chosen: dict[str, Override] = {}
    for text in [*(f"{key}={values}" for key, values in space.items()), *overrides]:
        try:
            override = parser.parse_override(text)
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"'{text}' describes no values ({reason}): write a,b or range(1,5) or interval(0.1,0.5)") from error
        chosen[override.get_key_element()] = override
    fixed = tuple(_as_given(o) for o in chosen.values() if not o.is_sweep_override())
    return Space(fixed, tuple(_varied(o) for o in chosen.values() if o.is_sweep_override()))


def _as_given(override: Override) -> str:
    key = override.get_key_element()
    return key if override.is_delete() and override.value_type is None else f"{key}={override.get_value_element_as_str()}"


def _varied(override: Override) -> Varied:
    key, sweep = override.get_key_element(), override.value()
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None and sweep.end is not None
        integer = isinstance(sweep.start, int) and isinstance(sweep.end, int)
        log = "log" in sweep.tags
        if not sweep.start < sweep.end or (log and sweep.start <= 0):
            raise ConfigError(
                f"{key}=interval({sweep.start},{sweep.end}): must rise{', from above 0 where it is logarithmic' if log else ''}"
            )
        return Varied(key, low=sweep.start, high=sweep.end, log=log, integer=integer)
    values = tuple(override.sweep_string_iterator())
    if isinstance(sweep, RangeSweep) and values:
        numbers = [float(v) for v in values]
        integer = all(v.lstrip("-").isdigit() for v in values)
        return Varied(key, values, low=numbers[0], high=numbers[-1], step=float(sweep.step), integer=integer)
    if not values:
        raise ConfigError(f"{key} has no values to vary over")
    return Varied(key, values)
