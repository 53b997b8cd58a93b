"""A small schema with every kind of column, and rows for it."""

from __future__ import annotations

import numpy as np

from recap_exp.data.schema import Block, Columns, Schema

SCHEMA = Schema(
    blocks={
        "continuous": Block(kind="continuous", columns=("cont",), width=5, use=5),
        "binary": Block(kind="binary", columns=("bin",), width=3, use=3),
        "discrete": Block(kind="discrete", columns=("d0", "d1"), width=2, use=2),
        "user": Block(kind="embedding", columns=("user.emb",), width=4, use=4),
    },
    ids={"user_id": "meta.user"},
    labels=("l.like", "l.reply"),
    truths=("l.like",),
    extras={"group": "grp", "score": "sc"},
)


def rows(n: int, seed: int = 0) -> Columns:
    """n rows of SCHEMA: negative and large integers, non-finite floats, labels that are no labels, missing truths and strings."""
    rng = np.random.default_rng(seed)
    cont = rng.normal(size=(n, 5)).astype(np.float32)
    cont[rng.random((n, 5)) < 0.1] = np.inf
    truth = rng.random(n).astype(np.float32).astype(np.float64)
    truth[rng.random(n) < 0.2] = np.nan
    group = np.array([["a", "bé", None][i] for i in rng.integers(0, 3, n)], dtype=object)
    return Columns(
        blocks={
            "continuous": cont,
            "binary": rng.integers(0, 10, (n, 3)).astype(np.float32),
            "discrete": rng.integers(-(2**62), 2**62, (n, 2)) >> rng.integers(0, 62, (n, 2)),
            "user": rng.random((n, 4), dtype=np.float32),
        },
        ids={"user_id": rng.integers(-(2**63), 2**63 - 1, n)},
        labels={"l.like": rng.integers(0, 2, n), "l.reply": np.where(rng.random(n) < 0.2, 0.25, 7.0)},
        truths={"l.like": truth},
        extras={"group": group, "score": rng.integers(0, 1000, n)},
    )


def assert_same(got: Columns, wanted: Columns) -> None:
    """Equal to the last bit; NaN equals NaN, None equals None."""
    for name, arrays in wanted.groups():
        assert set(getattr(got, name)) == set(arrays)
        for key, array in arrays.items():
            found = getattr(got, name)[key]
            assert found.shape == array.shape, (name, key)
            if array.dtype == object:
                assert found.tolist() == array.tolist(), (name, key)
            else:
                np.testing.assert_array_equal(found, array, err_msg=f"{name}/{key}")
