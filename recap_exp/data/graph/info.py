"""What `recap-exp data info` prints of a graph."""

from __future__ import annotations

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from recap_exp.data.graph.config import RULES
from recap_exp.data.graph.graph import Graph

MAX_RELATIONS = 60


def print_graph(console: Console, graph: Graph) -> None:
    """Types of node and edge, edges by split, times, and what each rule found and dropped."""
    manifest = graph.manifest
    edges = sum(graph.count(split) for split in graph.splits)
    digest = f"digest {manifest['digest'][:12]}"
    console.print(f"[bold]{escape(graph.name)}[/bold]: a graph of {edges:,} edges, {digest}", soft_wrap=True)
    console.print(_entities(graph))
    console.print(_relations(graph))
    if (more := len(graph.schema.relations) - MAX_RELATIONS) > 0:
        console.print(f"… and {more:,} more relations")
    console.print(_splits(graph))
    console.print(_rules(graph))
    console.print("Each rule looks at the edges that the ones before it left; seen, mirrors and linked at those of earlier splits too.")


def _entities(graph: Graph) -> Table:
    table = Table("entity", "rows", "ids", "first ids", "attributes", title="Nodes", title_justify="left")
    for entity, rows in graph.schema.entities.items():
        about = graph.manifest["entities"][entity]
        first = graph.first_ids(entity, 3)
        words = ", ".join(str(i) for i in first.to_pylist())
        table.add_row(escape(entity), f"{rows:,}", str(first.type), escape(words), escape(", ".join(about["attributes"])))
    return table


def _relations(graph: Graph) -> Table:
    table = Table("relation", "from", "to", *map(escape, graph.splits), title="Edges", title_justify="left")
    for relation in graph.schema.relations[:MAX_RELATIONS]:
        counts = (f"{graph.manifest['splits'][split]['relations'][relation.name]:,}" for split in graph.splits)
        table.add_row(escape(relation.name), escape(relation.left), escape(relation.right), *counts)
    return table


def _splits(graph: Graph) -> Table:
    made = graph.manifest["made"]["splits"]
    times = ["from", "to"] if any("from" in made[split] for split in graph.splits) else []
    table = Table("split", "edges", "size", *times, title="Splits", title_justify="left")
    for split in graph.splits:
        size = sum(f["bytes"] for f in graph.manifest["splits"][split]["files"])
        table.add_row(escape(split), f"{graph.count(split):,}", decimal(size), *(escape(made[split].get(key, "")) for key in times))
    return table


def _rules(graph: Graph) -> Table:
    """A column a rule."""
    table = Table("split", "read", *RULES, "kept", title="Leakage: edges found / dropped", title_justify="left")
    for split in graph.splits:
        made = graph.manifest["made"]["splits"][split]
        cells = (f"{made[rule]['found']:,} / {made[rule]['dropped']:,}" for rule in RULES)
        table.add_row(escape(split), f"{made['read']:,}", *cells, f"{made['kept']:,}")
    return table
