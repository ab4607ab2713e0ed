"""Models from which networks are grown, in double precision and without a JIT compiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from builders import artifact_of, kernels_of, random_data, random_parameters
from compiled import plain_python

from pgmdsl.compiler.artifact import Artifact
from pgmdsl.runtime.belief import machine_of
from pgmdsl.runtime.data import Data, open_data
from pgmdsl.runtime.machine import Machine
from pgmdsl.runtime.network import Network, grown

LABELLED = """
visible y  : softmax[3]              bias by
"""
CHAIN = f"""
model Chain
visible v  : binary[5]               bias b
{LABELLED}
hidden  h1 : binary[4]               bias a1
hidden  h2 : spin[3]                 bias a2
hidden  h3 : binary[2]               bias a3
v  -- h1 : W1
h1 -- h2 : W2
h2 -- h3 : W3
"""
LABELS_ABOVE = CHAIN + "h3 -- y : U\n"
PATHWAYS = f"""
model Pathways
unit trit {{
  support   x in {{-1, 0, 1}}
  energy    0.3 * x^2
  statistic x
}}
visible image : gaussian[4](sigma = 0.7)  bias b
visible words : replicated_softmax[5]     bias c
{LABELLED}
hidden  i1    : trit[3]                   bias a_i
hidden  t1    : binary[3]                 bias a_t
hidden  joint : softmax[2, 2]             bias a_j
image -- i1    : Wi
words -- t1    : Wt
i1    -- joint : Vi
t1    -- joint : Vt
joint -- y     : U
"""
BROAD = f"""
model Broad
given   c  : binary[2]
visible v  : binary[4]               bias b
{LABELLED}
hidden  h1 : gaussian[3]             bias a1
hidden  h2 : binomial[2](trials = 3) bias a2
hidden  h3 : binary[3]               bias none
v  -- h1 : W1
v  -- h2 : W2
c  -- h2 : C
h1 -- h2 : W3
h2 -- h3 : W4
h3 -- h3 : L
h1 -- y  : U1
h3 -- y  : U3
"""
STACK = """
model Stack
visible v  : binary[5]               bias b
hidden  h1 : binary[4]               bias a1
hidden  h2 : binary[3]               bias a2
hidden  h3 : gaussian[2]             bias a3
v  -- h1 : W1
h1 -- h2 : W2
h2 -- h3 : W3
"""
DOCUMENTS = """
model Documents
visible words : replicated_softmax[5]  bias b
hidden  h1    : binary[3]              bias a1
hidden  h2    : binary[2]              bias a2
words -- h1 : W1
h1    -- h2 : W2
"""
CLASSIFY = "\ntrain { finetune classify(y) { epochs = 1 } }\n"
AUTOENCODE = "\ntrain { finetune autoencode { epochs = 1 } }\n"


def grown_from(text: str, cases: int = 7, sd: float = 0.4) -> tuple[Network, Machine, Data]:
    """A model's first network, the model with random parameters, and random cases."""
    artifact = artifact_of(text)
    parameters = {n: x.astype(np.float64) for n, x in random_parameters(artifact, sd=sd).items()}
    data = data_of(artifact, cases)
    lengths = {n: float(data.moments(n)[0].sum()) for n, x in artifact.layers.items() if x.support == "counts"}
    with plain_python():
        machine = machine_of(artifact, kernels_of(artifact), parameters, lengths=lengths)
    return grown(artifact, 0), machine, data


def data_of(artifact: Artifact, cases: int) -> Data:
    return open_data(artifact, random_data(artifact, cases), base=Path()).train


def every(data: Data) -> Any:
    return np.arange(data.cases)


BELIEF = """
model Belief
visible v  : binary[5]               bias b
hidden  h1 : binary[4]               bias a1
hidden  h2 : binary[3]               bias a2
visible y  : softmax[3]              bias by
hidden  h3 : binary[2]               bias a3
h1 -> v  : W1
h2 -> h1 : W2
h2 -- h3 : W3
y  -- h3 : U
v  ~> h1 : R1
h1 ~> h2 : R2
"""
