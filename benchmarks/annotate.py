"""Tags of test pictures by a trained bimodal model, the layer `tags` missing as a whole: mean average precision.

python benchmarks/annotate.py RUN corel5k.npz
"""

from __future__ import annotations

import sys

import numpy as np
from baselines import mean_average_precision

import pgmdsl

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    run, data = pgmdsl.load(sys.argv[1]), np.load(sys.argv[2])
    pictures = {"image": data["image_test"].astype(float)}
    gibbs = run.impute(pictures, burn=100, sweeps=300, samples=4).means["tags"]
    for how, score in (("Gibbs", gibbs), ("mean field", run.infer(pictures, sweeps=100)["tags"])):
        print(f"by {how}: mean average precision {mean_average_precision(score, data['tags_test']):.4f}")
