"""The tracker of processes that train beside the first one: it tells nobody."""

from __future__ import annotations

from typing import Any


class Nobody:
    """A Tracker of recap_exp.tracking.tracker that drops whatever it is told."""

    url = None
    compare_url = None

    def params(self, values: dict[str, Any]) -> None: ...

    def metrics(self, values: dict[str, float], step: int | None = None) -> None: ...

    def tags(self, values: dict[str, str]) -> None: ...

    def figure(self, figure: Any, path: str) -> None: ...

    def table(self, columns: dict[str, list[Any]], path: str) -> None: ...

    def text(self, text: str, path: str) -> None: ...

    def artifact(self, file: Any, folder: str = "") -> None: ...

    def dataset(self, name: str, digest: str, context: str, source: str, schema: dict[str, Any], profile: dict[str, Any]) -> None: ...

    def mlflow_run_id(self, timeout: float | None = 0.0) -> str | None:
        return None

    def finish(self, status: str = "FINISHED", wait: bool = True) -> bool:
        return True
