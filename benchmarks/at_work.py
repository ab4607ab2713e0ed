"""How much each layer sends to its neighbours: whether a deep layer works, or is an ornament.

    python benchmarks/at_work.py RUN [CASES]

Hidden layers are at their mean-field means given held-out cases. Printed for each edge and direction: the standard
deviation over cases of the field that one layer sends to a unit of the other, the root mean square over units; and each
weight's largest singular value.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import pgmdsl


def main() -> None:
    run = pgmdsl.load(Path(sys.argv[1]))
    most = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    observed = {name: x[:most] for name, x in run.cases().items()}
    means = {**observed, **run.infer(observed)}
    flat = {name: x.reshape(len(x), -1) for name, x in means.items()}
    for edge in run.model.artifact.edges:
        if len(edge.layers) != 2:
            continue
        a, b = edge.layers
        w = run.parameters[edge.weight].reshape(flat[a].shape[1], -1)
        print(f"{edge.weight}: largest singular value {np.linalg.svd(w, compute_uv=False)[0]:.2f}")
        for one, other, sent in ((a, b, flat[a] @ w), (b, a, flat[b] @ w.T)):
            print(f"  {one} to {other}: {np.sqrt(sent.var(axis=0).mean()):.2f}")


if __name__ == "__main__":
    main()
