"""A model over a stream of batches, in memory that does not grow with the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from recap_exp.data.batch import Batch
from recap_exp.model.base import Model
from recap_exp.model.calibration import calibrate
from recap_exp.model.predictions import Predictions


def predict(ranker: Model, batches: Iterable[Batch], ratio_T: np.ndarray | None = None) -> Iterator[Predictions]:
    """What the ranker says of each batch, in evaluation mode, without gradients; its mode is restored at the end.

    ratio_T (see `rates_ratio`): calibrates the probabilities; None: as they are.
    """
    device = ranker.device
    was_training = ranker.training
    ranker.eval()
    try:
        for batch in batches:
            # Not around the yield: the mode would leak into the consumer's code.
            with torch.inference_mode():
                logits_BT = ranker(batch.to(device)).float().cpu()
            yield _predictions(ranker.tasks, logits_BT, batch, ratio_T)
    finally:
        ranker.train(was_training)


def _predictions(tasks: tuple[str, ...], logits_BT: Tensor, batch: Batch, ratio_T: np.ndarray | None) -> Predictions:
    probs_NT = logits_BT.double().sigmoid().numpy()
    calibrated_NT = probs_NT if ratio_T is None else calibrate(probs_NT, ratio_T)
    return Predictions(
        tasks=tasks,
        logits_NT=logits_BT.numpy(),
        probs_NT=probs_NT.astype(np.float32),
        calibrated_NT=calibrated_NT.astype(np.float32),
        labels_NT=_numpy(batch.labels_BT),
        weights_NT=_numpy(batch.weights_BT),
        truths_NT=_numpy(batch.truths_BT),
        ids=batch.ids,
        extras=batch.extras,
    )


def _numpy(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().cpu().numpy()
