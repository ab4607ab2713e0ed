"""Tags of test pictures by a trained bimodal model, the tags' layer being missing: mean average precision.

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
    score = run.infer({"image": data["image_test"].astype(float)}, sweeps=100)["tags"]
    print(f"mean field: mean average precision {mean_average_precision(score, data['tags_test']):.4f}")
