"""Maps of entity tables: vectors in two dimensions, coloured by what is known of the nodes.

Shapes: N rows drawn, D dim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recap_exp.evaluation.figures import GREY
from recap_exp.evaluation.links.baselines import relation_degrees
from recap_exp.evaluation.links.questions import Side

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from recap_exp.data.graph.graph import Graph

MOST = 1000
"""Rows drawn: of these t-SNE takes some three seconds, and more would hide each other."""
ITERATIONS = 500
"""Of t-SNE."""
FEWEST = 10
"""Rows of which a map says anything."""
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
"""Okabe and Ito's."""
MANY = tuple(colormaps["tab20"].colors[i] for i in (*range(0, 14, 2), 16, 18, *range(1, 15, 2), 17, 19))  # type: ignore[attr-defined]
"""Where there are more kinds: tab20 without its greys, first the dark ones."""


class Vectors(Protocol):
    """A model that shows its tables. Collective: all processes ask."""

    def vectors(self, entity: str) -> Any:
        """A tensor [rows, D]."""


@dataclass(frozen=True)
class Colours:
    """What a row's colour means."""

    name: str
    value_N: np.ndarray
    """Texts where they are kinds, numbers where they are an amount."""


def entity_maps(model: Vectors, graph: Graph, seed: int = 0) -> dict[str, Figure]:
    """Path -> figure: for each table its principal components and t-SNE (van der Maaten, Hinton 2008), of up to MOST nodes that have
    training edges. Colours: the first of the graph's attributes that a map can show, else the relation that a node has the most edges of.
    Tables of fewer than FEWEST such nodes, or of equal vectors, have no map."""
    degrees, found = graph.degrees(), {}
    relations = cache(lambda: relation_degrees(graph))
    for entity in graph.schema.entities:
        table = model.vectors(entity)  # by all processes, whether drawn or not
        rows_N = np.flatnonzero(degrees[entity])
        if len(rows_N) > MOST:
            rows_N = np.sort(np.random.default_rng(seed).choice(rows_N, MOST, replace=False))
        x_ND = table[rows_N].detach().cpu().float().numpy()
        if len(x_ND) < FEWEST or not x_ND.std(0).max() > 0:
            continue
        colours = by_attribute(graph.attributes(entity), rows_N) or by_relation(graph, relations(), entity, rows_N)
        found[f"maps/{entity}.png"] = _draw(f"{entity} · {graph.name}, {len(rows_N):,} of {len(table):,} nodes", x_ND, colours, seed)
    return found


def by_attribute(attributes: Mapping[str, np.ndarray], rows_N: np.ndarray) -> Colours | None:
    """The first attribute with a few kinds of values, or with numbers."""
    for name, column in attributes.items():
        value_N = column[rows_N]
        if value_N.dtype == object:
            if not all(value is None or isinstance(value, str) for value in value_N):
                continue
            value_N = np.array(["" if value is None else value for value in value_N])
        kinds = len(np.unique(value_N))
        if value_N.dtype.kind == "f" and kinds > 1:
            return Colours(name, value_N)
        if 1 < kinds <= max(20, len(rows_N) // 20):
            return Colours(name, value_N.astype(str))
        if value_N.dtype.kind in "iu" and kinds > 1:
            return Colours(name, value_N.astype(np.float64))
    return None


def by_relation(graph: Graph, degrees: Mapping[Side, csr_array], entity: str, rows_N: np.ndarray) -> Colours:
    """The relation, on either side, of most of a node's training edges."""
    counts, names = [], []
    for side, degrees_RN in degrees.items():
        for i, relation in enumerate(graph.schema.relations):
            if (relation.left if side == "left" else relation.right) == entity:
                counts.append(degrees_RN[[i]].toarray()[0][rows_N])
                names.append(f"{relation.name} →" if side == "left" else f"→ {relation.name}")
    return Colours("most frequent relation", np.array(names)[np.argmax(counts, axis=0)])


def _draw(title: str, x_ND: np.ndarray, colours: Colours, seed: int) -> Figure:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    components = min(50, *x_ND.shape)
    pca = PCA(components, random_state=seed)
    main_NC = pca.fit_transform(x_ND.astype(np.float64))
    near_N2 = TSNE(perplexity=min(30, (len(x_ND) - 1) / 3), init="pca", max_iter=ITERATIONS, random_state=seed, n_jobs=1).fit_transform(
        main_NC
    )
    share = pca.explained_variance_ratio_[:2].sum()
    width, height = 10.5, 4.9  # inches, from which the margins below follow
    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)
    margins = {"left": 0.2 / width, "right": 1 - 1.9 / width, "bottom": 0.2 / height, "top": 1 - 0.8 / height, "wspace": 0.05}
    for axes, at_N2, name in zip(
        figure.subplots(1, 2, gridspec_kw=margins),
        (main_NC[:, :2], near_N2),
        (f"principal components, {share:.0%} of the variance", "t-SNE: near is near, far says little"),
        strict=True,
    ):
        drawn = _scatter(axes, at_N2, colours)
        axes.set_title(name, fontsize=9)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("#cccccc")
    figure.text(0.15 / width, 1 - 0.3 / height, title, fontsize=11)
    if drawn is None:
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1 - 1.85 / width, 1 - 0.75 / height)}
        figure.legend(
            *axes.get_legend_handles_labels(), title=colours.name, markerscale=2, fontsize=7, title_fontsize=8, frameon=False, **place
        )
    else:
        bar = figure.colorbar(drawn, cax=figure.add_axes((1 - 1.7 / width, 0.2, 0.015, 0.6)))
        bar.set_label(colours.name, fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return figure


def _scatter(axes: Axes, at_N2: np.ndarray, colours: Colours) -> Any:
    """Draws the rows; returns what a colour bar is made of, None where a legend says it."""
    point: dict[str, Any] = {"s": 7, "lw": 0, "alpha": 0.8}
    if colours.value_N.dtype.kind == "f":
        return axes.scatter(at_N2[:, 0], at_N2[:, 1], c=colours.value_N, cmap="viridis", **point)
    kinds, count = np.unique(colours.value_N, return_counts=True)
    order = kinds[np.argsort(-count, kind="stable")]
    palette: Sequence[Any] = PALETTE if len(order) <= len(PALETTE) else MANY
    shown = sorted(order[: len(palette)], key=lambda kind: (len(kind), kind) if kind.isdecimal() else (0, kind))
    for kind, colour in zip(shown, palette, strict=False):
        axes.scatter(*at_N2[colours.value_N == kind].T, color=colour, label=str(kind)[:24], **point)
    if others := len(order) - len(shown):
        behind = point | {"alpha": 0.3, "zorder": 0}
        axes.scatter(*at_N2[~np.isin(colours.value_N, shown)].T, color=GREY, label=f"{others} others", **behind)
    return None
