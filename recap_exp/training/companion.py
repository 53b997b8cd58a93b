"""python -m recap_exp.training.companion STORE RANK COUNT: a process beside the first one, which has started it."""

from __future__ import annotations

import os
import sys
import threading


def end_with_the_first() -> None:
    """Standard input is closed when the first process ends, however it does."""
    os.read(0, 1)
    os._exit(1)


def main() -> None:
    """Until its work is done, or the first process gone."""
    file, rank, count = sys.argv[1:]
    threading.Thread(target=end_with_the_first, name="recap-exp-first", daemon=True).start()
    import torch.distributed as dist  # takes seconds, in which the first process may end

    from recap_exp.training.processes import accompany

    accompany(dist.FileStore(file, int(count)), int(rank), int(count))


if __name__ == "__main__":
    main()
