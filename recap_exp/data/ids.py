"""Ids of any kind as the 64-bit integers that rows carry."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,18})$"
"""As an integer of at most 19 digits is written."""


def as_integers(texts: pa.Array) -> np.ndarray:
    """[N] int64: the numbers themselves where all texts are written as such, else a hash of each text that is the same everywhere."""
    numbers, is_number = whole_numbers(texts)
    return numbers if is_number.all() else text_hashes(texts)


def whole_numbers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """[N] int64 and [N] bool: the number that each text is the usual way to write, and whether it is one of 64 bits; 0 where not."""
    shaped = pc.match_substring_regex(texts, WHOLE_NUMBER)
    numbers = pc.if_else(shaped, texts, "0").cast(pa.decimal128(20, 0))
    fits = pc.and_(pc.greater_equal(numbers, pa.scalar(-(2**63), numbers.type)), pc.less(numbers, pa.scalar(2**63, numbers.type)))
    numbers = pc.if_else(fits, numbers, pa.scalar(0, numbers.type)).cast(pa.int64())
    return numbers.to_numpy(zero_copy_only=False), pc.and_(shaped, fits).to_numpy(zero_copy_only=False)


def text_hashes(texts: pa.Array) -> np.ndarray:
    """[N] int64: a hash of each text, the same on every machine and in every set of texts."""
    return pd.util.hash_array(texts.to_numpy(zero_copy_only=False).astype(object), categorize=False).view(np.int64)
