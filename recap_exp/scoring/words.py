"""What a comparison of two groups means, in sentences: what was found, how sure one can be, and what does not follow."""

from __future__ import annotations

import math

from recap_exp.scoring.difference import LEVEL, Difference, Interval
from recap_exp.scoring.groups import Groups


def difference_words(d: Difference, groups: Groups, partition: str, *, trained_on: bool) -> str:
    """The paragraph under a group test. `trained_on`: the ranker has seen these rows' labels in training."""
    (a, b), (n, m) = groups.labels, d.sizes
    out = [f"{partition}: {a} ({n:,} candidates, mean score {d.means[0]:.4g}) against {b} ({m:,}, {d.means[1]:.4g})."]
    if groups.left_out:
        out.append(f"{groups.left_out:,} candidates are in neither group.")
    if math.isnan(d.p_student):
        same = "every candidate has the same score" if d.difference.value == 0 else "each group has one score only"
        return " ".join([*out, f"No t-test is possible: {same}, so nothing can be said of a spread."])
    verdict = "the means differ" if d.p_student < LEVEL else "no difference of the means is shown"
    out.append(
        f"Student's t at {LEVEL}: p = {_p(d.p_student)}, {verdict}. Welch's t (unequal variances): p = {_p(d.p_welch)}. "
        f"Mann-Whitney (ranks): p = {_p(d.p_mann_whitney)}."
    )
    out.append(
        f"Difference of means {_interval(d.difference)}, Hedges' g {_interval(d.hedges_g)}, {size_word(d.hedges_g.value)} by Cohen's rule, "
        f"AUC between the groups {_interval(d.auc)}."
    )
    if not d.significant:
        out.append(
            f"No difference larger than {d.bound:.3g} ({d.bound / d.pooled_std:.2g} standard deviations) is compatible with these data "
            f"at 95 %; one of {d.detectable:.3g} would have been found four times in five."
        )
    if (d.p_welch < LEVEL) != (d.p_mann_whitney < LEVEL):
        out.append(
            "Means and ranks disagree: the groups differ in shape, or a few extreme scores decide the mean; look at the distributions."
        )
    elif (d.p_student < LEVEL) != d.significant:
        out.append("Student and Welch disagree because the variances differ: believe Welch.")
    out.append(MEANINGS[trained_on, groups.labels_only, d.significant])
    return " ".join(out)


MEANINGS = {  # (trained on these rows, groups differ in labels only, difference found)
    (True, True, True): (
        "The groups differ in labels alone, which the ranker doesn't read, and it was trained on these very rows: "
        "the difference is labels that it memorised, or the one false alarm that chance gives in twenty tests."
    ),
    (True, True, False): (
        "The groups differ in labels alone, and the ranker was trained on these very rows: "
        "no memorised label shows in the score beyond that bound."
    ),
    (False, True, True): (
        "The groups differ in labels alone, which the ranker doesn't read, and these rows are new to it: "
        "the difference is the one false alarm that chance gives in twenty tests."
    ),
    (False, True, False): (
        "The groups differ in labels alone, which the ranker doesn't read, and these rows are new to it: "
        "there was nothing to find, only noise."
    ),
    (True, False, True): (
        "The ranker was trained on these very rows: the difference may be labels that it memorised; only rows that are new to it can tell."
    ),
    (True, False, False): "The ranker was trained on these very rows: not even memorised labels separate the groups beyond that bound.",
    (False, False, True): (
        "These rows are new to the ranker: what separates the groups is in the features, and carries over to rows it hasn't seen."
    ),
    (False, False, False): "These rows are new to the ranker: its score doesn't tell the groups apart beyond that bound.",
}
"""What a verdict means, given what is known of the rows and of the groups."""


def size_word(g: float) -> str:
    """Cohen's rule of thumb for an effect size."""
    for bound, word in ((0.2, "negligible"), (0.5, "small"), (0.8, "medium")):
        if abs(g) < bound:
            return word
    return "large"


def _interval(i: Interval) -> str:
    return f"{i.value:.3g} (95 % interval {i.low:.3g} to {i.high:.3g})"


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else f"{p:.0e}" if p > 1e-300 else "below 1e-300"
