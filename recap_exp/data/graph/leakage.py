"""What may not leak between splits: edges that repeat, or give away, edges of the same or an earlier split. Found, dropped, reported."""

from __future__ import annotations

from typing import Any

from recap_exp.data.graph.config import RULES, GraphConfig
from recap_exp.data.graph.raw import Read
from recap_exp.data.graph.workshop import Workshop
from recap_exp.errors import DataError

EARLIER = {
    "seen": "e.lhs = p.lhs AND e.rhs = p.rhs AND e.rel = p.rel",
    "mirrors": "e.lhs = p.rhs AND e.rhs = p.lhs AND e.lhs_type = p.rhs_type AND e.rhs_type = p.lhs_type"
    " AND NOT (e.lhs = e.rhs AND e.lhs_type = e.rhs_type)",
    "linked": "e.lhs = p.lhs AND e.rhs = p.rhs AND e.lhs_type = p.lhs_type AND e.rhs_type = p.rhs_type AND e.rel <> p.rel",
}
"""Which edge e of an earlier split an edge p of a later one may not have. An edge from a node to itself is its own mirror, and has none."""


def apply_rules(shop: Workshop, read: Read, cfg: GraphConfig) -> dict[str, dict[str, Any]]:
    """From `edges` to `kept`. Says by split how many edges were read, and of each rule how many it found and dropped.

    Rules come one after the other, each to the edges that the ones before it left. Raises DataError where a split has no edges left.
    """
    types = list(read.entities)
    values = ", ".join(f"({n}, {types.index(r.left)}, {types.index(r.right)})" for n, r in enumerate(read.relations.values()))
    shop.run(f"CREATE TABLE types AS SELECT * FROM (VALUES {values}) AS t (rel, lhs_type, rhs_type)")
    shop.run("CREATE TABLE kept (split INTEGER, place BIGINT, lhs BIGINT, rel INTEGER, rhs BIGINT, lhs_type INTEGER, rhs_type INTEGER)")
    report = {}
    for number, split in enumerate(read.splits):
        rows = int(shop.one("SELECT count(*) FROM edges WHERE split = ?", [number])[0])
        shop.run(
            "CREATE OR REPLACE TABLE part AS SELECT e.*, lhs_type, rhs_type FROM edges e JOIN types USING (rel) WHERE split = ?", [number]
        )
        found = {rule: _apply(shop, rule, getattr(cfg, rule) == "drop") for rule in RULES}
        shop.run("INSERT INTO kept SELECT split, place, lhs, rel, rhs, lhs_type, rhs_type FROM part")
        left = int(shop.one("SELECT count(*) FROM part")[0])
        if not left:
            gone = ", ".join(f"{rule} {n['dropped']}" for rule, n in found.items() if n["dropped"])
            why = (
                f": all {rows} were dropped ({gone}); set that rule to keep" if rows else "; see its files, where, offset, limit or by_time"
            )
            raise DataError(f"data '{cfg.name}': split '{split}' has no edges{why}")
        report[split] = {"read": rows, **found, "kept": left}
    return report


def _apply(shop: Workshop, rule: str, drop: bool) -> dict[str, int]:
    """Applies a rule to `part`: edges of one split, `kept` being those of the earlier ones."""
    if rule == "repeats":
        remaining = "SELECT split, min(place) AS place, lhs, rel, rhs, lhs_type, rhs_type FROM part GROUP BY ALL"
    else:
        remaining = f"SELECT * FROM part p WHERE NOT EXISTS (SELECT 1 FROM kept e WHERE {EARLIER[rule]})"
    before = int(shop.one("SELECT count(*) FROM part")[0])
    if drop:
        shop.run(f"CREATE TABLE remaining AS {remaining}")
        shop.run("DROP TABLE part")
        shop.run("ALTER TABLE remaining RENAME TO part")
        left = int(shop.one("SELECT count(*) FROM part")[0])
    else:
        left = int(shop.one(f"SELECT count(*) FROM ({remaining})")[0])
    return {"found": before - left, "dropped": before - left if drop else 0}
