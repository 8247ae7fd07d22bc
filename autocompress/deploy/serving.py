"""Answers as they are served: in the batches of a workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from autocompress.core.workload import Workload
from autocompress.deploy.session import Session, Tokens
from autocompress.inputs.outputs import blank, stacked


def predict_as_served(
    session: Session, tokens: Tokens, workload: Workload, *, pad: int, types: Tokens | None = None
) -> NDArray[np.float32]:
    """Logits [texts, ...] of texts in batches of the workload: in the order of their length where that is how it
    takes them, each batch padded with the token `pad` to its longest text, or to `length` where all texts are.

    int8 activations have one scale for a whole batch, padding included, so answers depend a little on the texts beside
    them: the quality of a file is that of its batches, while a search scores every text with a scale of its own. A
    single text is never padded: nothing stands beside it.
    """
    if workload.batch == 1:
        return session.predict(tokens, types)
    by_length = workload.lengths == "sorted"
    order = np.argsort([len(ids) for ids in tokens], kind="stable") if by_length else np.arange(len(tokens))
    least = workload.length if workload.lengths == "padded" else 0

    def padded(batch: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Ids, mask and types, [texts, longest] each."""
        ids = np.full((len(batch), max(least, *(len(tokens[place]) for place in batch))), pad, np.int64)
        mask, kinds = np.zeros_like(ids), np.zeros_like(ids)
        for row, place in enumerate(batch):
            length = len(tokens[place])
            ids[row, :length], mask[row, :length] = tokens[place], 1
            kinds[row, :length] = 0 if types is None else types[place]
        return ids, mask, kinds

    fed = [padded(order[start : start + workload.batch]) for start in range(0, len(order), workload.batch)]
    answers = session.outputs(session.feed(*one) for one in fed)
    logits = stacked([blank(answer, mask) for answer, (_, mask, _) in zip(answers, fed, strict=True)])
    return logits[np.argsort(order)]


def serve(session: Session, batches: Iterable[Mapping[str, NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Outputs [rows, ...] of named inputs, batch after batch, of rows that are all of one size."""
    return np.concatenate(list(session.outputs(session.fed(inputs) for inputs in batches)))
