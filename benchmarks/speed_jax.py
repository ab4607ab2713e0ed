"""The same work in JAX, in a process of its own on one processor core.

    python benchmarks/speed_jax.py KIND ARGUMENTS      ARGUMENTS as JSON

Then, for each line with a number on standard input, does so many steps and answers with the seconds that they took, of
the processor and of the clock. Started by `speed.py --jax PYTHON`; needs nothing but JAX and NumPy.
"""

from __future__ import annotations

import json
import os
import sys
import time

if hasattr(os, "sched_setaffinity"):  # before JAX makes its threads
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp
from jax import lax, random

RATE, MOMENTUM, DECAY = 0.05, 0.5, 0.0002  # those of speed_peers


def start(sizes):
    """Weights, biases and their velocities."""
    keys = random.split(random.key(0), len(sizes))
    w = [0.01 * random.normal(k, (a, b)) for k, a, b in zip(keys, sizes, sizes[1:], strict=False)]
    b = [jnp.zeros(n) for n in sizes]
    return {"w": w, "b": b, "speed_w": [0 * x for x in w], "speed_b": [0 * x for x in b]}


def draw(key, p):
    return (random.uniform(key, p.shape) < p).astype(jnp.float32)


def ascend(p, data, model):
    """One step along the difference of the two phases' statistics."""
    w, b, speed_w, speed_b = [], [], [], []
    for i, (old, speed) in enumerate(zip(p["w"], p["speed_w"], strict=False)):
        slope = data[i].T @ data[i + 1] / len(data[i]) - model[i].T @ model[i + 1] / len(model[i])
        speed_w.append(MOMENTUM * speed + RATE * (slope - DECAY * old))
        w.append(old + speed_w[-1])
    for i, (old, speed) in enumerate(zip(p["b"], p["speed_b"], strict=False)):
        speed_b.append(MOMENTUM * speed + RATE * (data[i].mean(0) - model[i].mean(0)))
        b.append(old + speed_b[-1])
    return {"w": w, "b": b, "speed_w": speed_w, "speed_b": speed_b}


def rbm(visible, hidden, batch, chains, sweeps, gaussian=False):
    def step(state, data):
        p, h, key = state
        w, (b, a) = p["w"][0], p["b"]
        key, *keys = random.split(key, 2 + 2 * sweeps)
        h_data = jax.nn.sigmoid(data @ w + a)
        h = h if chains else draw(keys[0], h_data)
        for i in range(sweeps):
            field = h @ w.T + b
            noise = keys[1 + 2 * i]
            v = field + random.normal(noise, field.shape) if gaussian else draw(noise, jax.nn.sigmoid(field))
            h_model = jax.nn.sigmoid(v @ w + a)
            if chains or i + 1 < sweeps:
                h = draw(keys[2 + 2 * i], h_model)
        return ascend(p, [data, h_data], [v, h_model]), h, key

    return step, (start((visible, hidden)), jnp.zeros((chains or batch, hidden)), random.key(1)), (batch, visible)


def dbm(sizes, batch, chains, mean_field, sweeps):
    top = len(sizes) - 1

    def field(p, s, i):
        below = s[i - 1] @ p["w"][i - 1] if i else 0
        return p["b"][i] + below + (s[i + 1] @ p["w"][i].T if i < top else 0)

    def step(state, data):
        p, s, key = state
        q, sent = [data], data @ p["w"][0]
        for i in range(1, top + 1):
            x = sent if i == 1 else q[i - 1] @ p["w"][i - 1]
            q.append(jax.nn.sigmoid((2 if i < top else 1) * x + p["b"][i]))

        def settle(_, q):
            q = list(q)
            for i in range(1, top + 1):
                first = i == 1 and top > 1
                q[i] = jax.nn.sigmoid(p["b"][1] + sent + q[2] @ p["w"][1].T if first else field(p, q, i))
            return q

        q = lax.fori_loop(0, mean_field, settle, q)

        def sweep(_, state):
            s, m, key = list(state[0]), list(state[1]), state[2]
            for i in (*range(0, top + 1, 2), *range(1, top + 1, 2)):
                key, own = random.split(key)
                m[i] = jax.nn.sigmoid(field(p, s, i))
                s[i] = draw(own, m[i])
            return s, m, key

        s, m, key = lax.fori_loop(0, sweeps, sweep, (s, list(s), key))
        return ascend(p, q, [m[i] if i % 2 else s[i] for i in range(top + 1)]), s, key

    return step, (start(sizes), [jnp.zeros((chains, n)) for n in sizes], random.key(1)), (batch, sizes[0])


def ais(visible, hidden, chains):
    def step(state, _):
        p, v, weight, key = state
        w, (b, a) = p["w"][0], p["b"]
        key, one, two = random.split(key, 3)
        x = v @ w + a
        change = jax.nn.softplus(0.501 * x) - jax.nn.softplus(0.5 * x)
        weight = weight + 0.001 * (v @ b) + change.sum(1)
        h = draw(one, jax.nn.sigmoid(0.501 * x))
        return p, draw(two, jax.nn.sigmoid(0.501 * (h @ w.T + b))), weight, key

    v = draw(random.key(2), jnp.full((chains, visible), 0.5))
    return step, (start((visible, hidden)), v, jnp.zeros(chains), random.key(1)), (1, 1)


KINDS = {"rbm": rbm, "dbm": dbm, "ais": ais}


def main() -> None:
    step, state, shape = KINDS[sys.argv[1]](*json.loads(sys.argv[2]))
    step = jax.jit(step, donate_argnums=0)
    data = draw(random.key(3), jnp.full(shape, 0.2))
    print(json.dumps({"jax": jax.__version__}), flush=True)
    for line in sys.stdin:
        spent = time.process_time(), time.perf_counter()
        for _ in range(int(line)):
            state = step(state, data)
        jax.block_until_ready(state)
        print(json.dumps([time.process_time() - spent[0], time.perf_counter() - spent[1]]), flush=True)


if __name__ == "__main__":
    main()
