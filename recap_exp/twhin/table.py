"""The learned table of one type of node, as files and as arrays. Shape letters: N nodes, D width."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recap_exp.data.embeddings import BIAS, DEGREE, ID, VECTOR
from recap_exp.data.parquet import opened
from recap_exp.whole import whole


@dataclass(frozen=True, kw_only=True)
class EntityTable:
    """N nodes, in the order of the graph's rows."""

    ids: pa.Array
    """[N] original ids: integers or texts."""
    vectors_ND: np.ndarray
    """float32."""
    bias_N: np.ndarray
    """float32; 0 where the model has none."""
    degree_N: np.ndarray
    """int64 ends of training edges; where it is 0 the vector is as it was drawn at the start."""

    def write(self, folder: Path, name: str) -> Path:
        """NAME.npy (vectors), NAME.ids.npy, and NAME.parquet (id, vector, bias, degree), which is there last and is returned."""
        folder.mkdir(parents=True, exist_ok=True)
        text = not pa.types.is_integer(self.ids.type)
        ids_N = self.ids.to_numpy(zero_copy_only=False)
        for file, array in ((f"{name}.npy", self.vectors_ND), (f"{name}.ids.npy", ids_N.astype(str) if text else ids_N)):
            with whole(folder / file) as draft, open(draft, "wb") as out:
                np.save(out, array, allow_pickle=False)
        flat = pa.array(np.ascontiguousarray(self.vectors_ND).reshape(-1))
        columns = {
            ID: self.ids,
            VECTOR: pa.FixedSizeListArray.from_arrays(flat, self.vectors_ND.shape[1]),
            BIAS: self.bias_N,
            DEGREE: self.degree_N,
        }
        with whole(folder / f"{name}.parquet") as draft:
            pq.write_table(pa.table(columns), draft, compression="none")  # floats hardly shrink
        return folder / f"{name}.parquet"

    @classmethod
    def read(cls, file: Path) -> EntityTable:
        """What `write` stored as Parquet. Raises DataError where it can't be read."""
        with opened(file) as stored:
            table = stored.read([ID, VECTOR, BIAS, DEGREE])
        vectors = table.column(VECTOR).combine_chunks()
        return cls(
            ids=table.column(ID).combine_chunks(),
            vectors_ND=vectors.flatten().to_numpy().reshape(len(table), vectors.type.list_size),
            bias_N=table.column(BIAS).to_numpy(),
            degree_N=table.column(DEGREE).to_numpy(),
        )
