"""The table against a reference in plain loops, on small logs that hypothesis makes up."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from events_log import read, source
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KINDS = ["view", "like", "share"]
COUNTS = {"view": ["view"], "liked": ["like", "share"]}
WINDOW, RECENT, STRENGTH = 2.0, 1.5, 4.0

# Few viewers, items and times: ties and repeats are the rule.
events = st.tuples(
    st.integers(0, 3), st.integers(10, 13), st.integers(0, 30), st.sampled_from(KINDS), st.sampled_from(["a", "b", "c", None])
)


def reference(log: list[tuple[int, int, int, str, str | None]], impressions: list[str] | None) -> list[dict[str, object]]:
    """One dict a row. Times are quarters of an hour."""
    log = sorted(log, key=lambda e: e[2])
    rows: list[dict[str, object]] = []
    begun: set[tuple[int, int]] = set()
    for v, i, t, kind, device in log:
        if (v, i) in begun or (impressions is not None and kind not in impressions):
            continue
        begun.add((v, i))
        row: dict[str, object] = {"viewer": v, "item": i, "time": 900.0 * t, "event": kind}
        own = [e for e in log if e[0] == v and e[1] == i and t <= e[2] <= t + 4 * WINDOW]
        row["label_like"] = int(any(e[3] == "like" for e in own))
        row["label_any"] = int(any(e[3] in ("like", "share") for e in own))
        past = [e for e in log if e[2] < t]
        for entity, mine in (("viewer", [e for e in past if e[0] == v]), ("item", [e for e in past if e[1] == i])):
            recent = [e for e in mine if e[2] >= t - 4 * RECENT]
            pairs = {(e[0], e[1]) for e in mine}
            row[f"{entity}_pairs"] = len(pairs)
            # A pair is recent where its first event is.
            row[f"{entity}_pairs_1.5h"] = sum(min(e[2] for e in past if (e[0], e[1]) == p) >= t - 4 * RECENT for p in pairs)
            for name, kinds in COUNTS.items():
                row[f"{entity}_{name}"] = sum(e[3] in kinds for e in mine)
                row[f"{entity}_{name}_1.5h"] = sum(e[3] in kinds for e in recent)
                everyone = {(e[0], e[1]) for e in past}
                prior = len({(e[0], e[1]) for e in past if e[3] in kinds}) / max(len(everyone), 1)
                hits = len({(e[0], e[1]) for e in mine if e[3] in kinds})
                row[f"{entity}_{name}_rate"] = (hits + STRENGTH * prior) / (len(pairs) + STRENGTH)
            row[f"{entity}_new"] = int(not mine)
            row[f"{entity}_age_hours"] = (t - min(e[2] for e in mine)) / 4 if mine else 0.0
            row[f"{entity}_gap_hours"] = (t - max(e[2] for e in mine)) / 4 if mine else -1.0
        known = [e[4] for e in past if e[0] == v and e[4] is not None]
        row["last"], row["row"] = known[-1] if known else "", device or ""
        row["weekday"] = 3 + int(900 * t // 86400)
        row["hour_sin"] = math.sin(2 * math.pi * t / 96)
        rows.append(row)
    return rows


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=st.lists(events, min_size=1, max_size=40), impressions=st.sampled_from([None, ["view"], ["view", "share"]]))
def test_every_column_is_what_plain_loops_say(
    tmp_path: Path, log: list[tuple[int, int, int, str, str | None]], impressions: list[str] | None
) -> None:
    # Every kind is there once, by a viewer and an item of its own, before all else: no kind is unknown.
    log = [(90, 90, -1, kind, None) for kind in KINDS] + log
    path = tmp_path / "log.parquet"
    frame = pd.DataFrame(log, columns=["viewer", "item", "time", "event", "device"])
    frame.assign(time=900 * frame["time"]).to_parquet(path)
    table = read(
        source(
            path,
            impressions=impressions,
            labels={"like": ["like"], "any": ["like", "share"]},
            window_hours=WINDOW,
            history={"counts": COUNTS, "prior_strength": STRENGTH, "recent_hours": [RECENT]},
            calendar=["hour", "weekday"],
            categorical={n: {"column": "device", "value": n} for n in ("row", "last")},
            split={"train": 1.0},
            drop_incomplete=False,
        )
    )["train"]
    expected = reference(log, impressions)
    assert len(table) == len(expected)
    for name in expected[0]:
        wanted = [row[name] for row in expected]
        if name == "weekday":
            days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
            assert table[days].to_numpy().argmax(axis=1).tolist() == [d % 7 for d in wanted]  # type: ignore[operator]
        elif isinstance(wanted[0], str):
            assert table[f"extra_{name}"].tolist() == wanted
        else:
            column = f"extra_{name}" if name == "time" else name
            np.testing.assert_allclose(table[column].to_numpy(np.float64), np.array(wanted, np.float64), rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("order", [list, lambda rows: list(reversed(rows))])
def test_the_order_of_the_file_does_not_matter(tmp_path: Path, order: Callable[[list], list]) -> None:
    rng = np.random.default_rng(0)
    rows = [(int(rng.integers(5)), int(rng.integers(5)), t, str(rng.choice(KINDS))) for t in rng.permutation(200).tolist()]
    for name, log in (("a", rows), ("b", order(rows))):
        pd.DataFrame(log, columns=["viewer", "item", "time", "event"]).to_csv(tmp_path / f"{name}.csv", index=False)
    kwargs = {"history": {"counts": COUNTS, "prior_strength": 5.0, "recent_hours": []}, "window_hours": 0.0005}
    a, b = (read(source(tmp_path / f"{name}.csv", **kwargs)) for name in "ab")
    for split in a:
        pd.testing.assert_frame_equal(a[split], b[split])
