"""The same work in NumPy, PyTorch and scikit-learn, float32, in place, with buffers made once.

Each maker returns one update (or one temperature of annealing) as a function of a batch of bits (cases, units). All
take momentum and weight decay, but scikit-learn's, which has neither, and the belief net's, which has no momentum.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Step = Callable[[Matrix], object]
RATE, MOMENTUM, DECAY = 0.05, 0.5, 0.0002
REAL = np.float32


def weights(*sizes: int) -> list[Matrix]:
    """Small random weights between layers of these sizes, one after another."""
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.01, pair).astype(REAL) for pair in pairwise(sizes)]


def sigmoid(x: Matrix, bias: Matrix) -> Matrix:
    """1 / (1 + exp(-x - bias)), in place."""
    np.add(x, bias, out=x)
    np.negative(x, out=x)
    np.exp(x, out=x)
    np.add(x, 1, out=x)
    return np.reciprocal(x, out=x)


class NumpyNet:
    """Layers in a chain, with momentum and decay; biases and weights in place."""

    def __init__(self, *sizes: int) -> None:
        self.rng = np.random.default_rng(0)
        self.w, self.b = weights(*sizes), [np.zeros(n, REAL) for n in sizes]
        self.speed = [np.zeros_like(x) for x in (*self.w, *self.b)]
        self.slope, self.other = ([np.empty_like(w) for w in self.w] for _ in range(2))

    def field(self, layer: int, s: list[Matrix], out: Matrix, scratch: Matrix) -> Matrix:
        """What the neighbours send to a layer."""
        below, above = layer > 0, layer < len(self.w)
        if below:
            np.matmul(s[layer - 1], self.w[layer - 1], out=out)
        if above and below:
            out += np.matmul(s[layer + 1], self.w[layer].T, out=scratch)
        elif above:
            np.matmul(s[layer + 1], self.w[layer].T, out=out)
        return out

    def draw(self, p: Matrix, out: Matrix, uniform: Matrix) -> None:
        self.rng.random(dtype=REAL, out=uniform)
        np.copyto(out, uniform < p)

    def ascend(self, data: list[Matrix], model: list[Matrix]) -> None:
        """One step along the difference of the two phases' statistics."""
        for i, w in enumerate(self.w):
            slope, other = self.slope[i], self.other[i]
            np.matmul(data[i].T, data[i + 1], out=slope)
            slope *= REAL(RATE / len(data[i]))
            np.matmul(model[i].T, model[i + 1], out=other)
            other *= REAL(RATE / len(model[i]))
            slope -= other
            speed = self.speed[i]
            speed *= REAL(MOMENTUM)
            speed += slope
            speed -= np.multiply(w, REAL(RATE * DECAY), out=other)
            w += speed
        for b, speed, x, y in zip(self.b, self.speed[len(self.w) :], data, model, strict=True):
            speed *= REAL(MOMENTUM)
            speed += REAL(RATE) * (x.mean(axis=0) - y.mean(axis=0))
            b += speed


def numpy_rbm(visible: int, hidden: int, batch: int, chains: int, sweeps: int, net: NumpyNet | None = None) -> Step:
    """An RBM: CD with so many sweeps, or PCD where there are chains."""
    net, rows = net or NumpyNet(visible, hidden), chains or batch
    h_data, h = np.empty((batch, hidden), REAL), np.zeros((rows, hidden), REAL)
    v, h_model = np.empty((rows, visible), REAL), np.zeros((rows, hidden), REAL)
    u_v, u_h = np.empty_like(v), np.empty_like(h)

    def step(data: Matrix) -> None:
        sigmoid(np.matmul(data, net.w[0], out=h_data), net.b[1])
        if not chains:
            net.draw(h_data, h, u_h)
        for sweep in range(sweeps):
            net.draw(sigmoid(np.matmul(h, net.w[0].T, out=v), net.b[0]), v, u_v)
            sigmoid(np.matmul(v, net.w[0], out=h_model), net.b[1])
            if chains or sweep + 1 < sweeps:
                net.draw(h_model, h, u_h)
        net.ascend([data, h_data], [v, h_model])

    return step


def numpy_gaussian(visible: int, hidden: int, batch: int, chains: int, sweeps: int) -> Step:
    """A Gaussian-binary RBM with unit variances, CD with so many sweeps."""
    net = NumpyNet(visible, hidden)
    h_data, h = np.empty((batch, hidden), REAL), np.empty((batch, hidden), REAL)
    v, h_model = np.empty((batch, visible), REAL), np.empty((batch, hidden), REAL)
    u_v, u_h = np.empty_like(v), np.empty_like(h)

    def step(data: Matrix) -> None:
        sigmoid(np.matmul(data, net.w[0], out=h_data), net.b[1])
        net.draw(h_data, h, u_h)
        np.matmul(h, net.w[0].T, out=v)
        np.add(v, net.b[0], out=v)
        net.rng.standard_normal(dtype=REAL, out=u_v)
        np.add(v, u_v, out=v)
        sigmoid(np.matmul(v, net.w[0], out=h_model), net.b[1])
        net.ascend([data, h_data], [v, h_model])

    return step


def numpy_dbm(sizes: tuple[int, ...], batch: int, chains: int, mean_field: int, sweeps: int) -> Step:
    """A DBM: mean field from the doubled pass up, persistent chains; the layers drawn last enter by their means."""
    net, top = NumpyNet(*sizes), len(sizes) - 1
    q, scratch, sent = ([np.zeros((batch, n), REAL) for n in sizes] for _ in range(3))
    s, p, u = ([np.zeros((chains, n), REAL) for n in sizes] for _ in range(3))
    spare = [np.zeros((chains, n), REAL) for n in sizes]

    def step(data: Matrix) -> None:
        q[0] = data
        for i in range(1, top + 1):
            np.matmul(q[i - 1], net.w[i - 1], out=q[i])
            if i == 1:
                np.copyto(sent[1], q[1])
            if i < top:
                np.multiply(q[i], REAL(2), out=q[i])
            sigmoid(q[i], net.b[i])
        for _ in range(mean_field):
            for i in range(1, top + 1):
                if i == 1 and top > 1:
                    np.matmul(q[2], net.w[1].T, out=q[1])
                    np.add(q[1], sent[1], out=q[1])
                    sigmoid(q[1], net.b[1])
                elif i > 1:
                    sigmoid(net.field(i, q, q[i], scratch[i]), net.b[i])
        for _ in range(sweeps):
            for i in (*range(0, top + 1, 2), *range(1, top + 1, 2)):
                sigmoid(net.field(i, s, p[i], spare[i]), net.b[i])
                net.draw(p[i], s[i], u[i])
        model = [p[i] if i % 2 else s[i] for i in range(top + 1)]
        net.ascend(q, model)

    return step


def numpy_ais(visible: int, hidden: int, chains: int) -> Step:
    """One temperature of annealed importance sampling, the hidden units summed out; any batch is ignored."""
    net = NumpyNet(visible, hidden)
    w, (b, a) = net.w[0], net.b
    v, h = (net.rng.random((chains, visible)) < 0.5).astype(REAL), np.zeros((chains, hidden), REAL)
    x, y, u_v, u_h = np.empty_like(h), np.empty_like(v), np.empty_like(v), np.empty_like(h)
    other, weight = np.empty_like(h), np.zeros(chains)
    before, beta = REAL(0.5), REAL(0.501)

    def softplus_sum(field: Matrix, scale: np.float32, out: Matrix) -> NDArray[np.float64]:
        np.multiply(field, scale, out=out)
        np.exp(out, out=out)
        np.log1p(out, out=out)
        return np.asarray(out.sum(axis=1, dtype=np.float64))

    def step(_: Matrix) -> None:
        np.matmul(v, w, out=x)
        np.add(x, a, out=x)
        weight[:] += (beta - before) * (v @ b) + softplus_sum(x, beta, other) - softplus_sum(x, before, other)
        np.multiply(x, beta, out=x)
        net.draw(sigmoid(x, REAL(0)), h, u_h)
        np.matmul(h, w.T, out=y)
        np.add(y, b, out=y)
        np.multiply(y, beta, out=y)
        net.draw(sigmoid(y, REAL(0)), v, u_v)

    return step


def numpy_documents(words: int, hidden: int, batch: int, sweeps: int) -> Step:
    """Replicated softmax by CD; the hidden bias counts once a word (Salakhutdinov and Hinton 2009)."""
    net = NumpyNet(words, hidden)
    w, (b, a) = net.w[0], net.b
    u = np.empty((batch, hidden), REAL)
    h, v = np.empty((batch, hidden), REAL), np.empty((batch, words), REAL)

    def means(counts: Matrix, length: Matrix) -> Matrix:
        return sigmoid(counts @ w, length * a)

    def step(data: Matrix) -> None:
        length = data.sum(axis=1, keepdims=True)
        h_data = h_model = means(data, length)
        for _ in range(sweeps):
            net.draw(h_model, h, u)
            p = h @ w.T
            p += b
            p -= p.max(axis=1, keepdims=True)
            np.exp(p, out=p)
            p = p.astype(np.float64)
            p /= p.sum(axis=1, keepdims=True)
            v[:] = net.rng.multinomial(length[:, 0].astype(np.int64), p)
            h_model = means(v, length)
        net.ascend([data, h_data], [v, h_model])

    return step


def numpy_belief_net(sizes: tuple[int, ...], batch: int) -> Step:
    """Wake-sleep for a sigmoid belief net (Hinton, Dayan, Frey and Neal 1995)."""
    net, up = NumpyNet(*sizes), NumpyNet(*sizes)
    top, s = len(sizes) - 1, [np.zeros((batch, n), REAL) for n in sizes]
    means, u = [np.empty_like(x) for x in s], [np.empty_like(x) for x in s]

    def learn(b: Matrix, states: Matrix, mean: Matrix) -> Matrix:
        """Move a bias along states less their means, which are returned."""
        np.subtract(states, mean, out=mean)
        b += REAL(RATE) * mean.mean(axis=0)
        return mean

    def move(w: Matrix, slope: Matrix) -> None:
        slope *= REAL(RATE / batch)
        w += slope - REAL(RATE * DECAY) * w

    def step(data: Matrix) -> None:
        np.copyto(s[0], data)
        for i in range(1, top + 1):
            net.draw(sigmoid(np.matmul(s[i - 1], up.w[i - 1], out=means[i]), up.b[i]), s[i], u[i])
        for i in range(top):
            left = learn(net.b[i], s[i], sigmoid(np.matmul(s[i + 1], net.w[i].T, out=means[i]), net.b[i]))
            move(net.w[i], np.matmul(left.T, s[i + 1], out=net.slope[i]))
        prior = np.broadcast_to(sigmoid(np.zeros_like(net.b[top]), net.b[top]), s[top].shape)
        learn(net.b[top], s[top], prior.copy())
        net.draw(prior, s[top], u[top])
        for i in range(top - 1, -1, -1):
            net.draw(sigmoid(np.matmul(s[i + 1], net.w[i].T, out=means[i]), net.b[i]), s[i], u[i])
        for i in range(1, top + 1):
            left = learn(up.b[i], s[i], sigmoid(np.matmul(s[i - 1], up.w[i - 1], out=means[i]), up.b[i]))
            move(up.w[i - 1], np.matmul(s[i - 1].T, left, out=up.slope[i - 1]))

    return step


class TorchNet:
    """The same with PyTorch."""

    def __init__(self, *sizes: int) -> None:
        import torch

        torch.set_num_threads(1)
        self.torch = torch
        self.w, self.b = [torch.from_numpy(w) for w in weights(*sizes)], [torch.zeros(n) for n in sizes]
        self.speed = [torch.zeros_like(x) for x in (*self.w, *self.b)]

    def mean(self, layer, s):  # type: ignore[no-untyped-def]
        """The conditional means of a layer given its neighbours."""
        below, above = layer > 0, layer < len(self.w)
        x = self.torch.addmm(self.b[layer], s[layer - 1], self.w[layer - 1]) if below else None
        if above:
            w = self.w[layer].t()
            x = self.torch.addmm(self.b[layer], s[layer + 1], w) if x is None else x.addmm_(s[layer + 1], w)
        return x.sigmoid_()

    def ascend(self, data, model):  # type: ignore[no-untyped-def]
        for i, (w, speed) in enumerate(zip(self.w, self.speed, strict=False)):
            speed.mul_(MOMENTUM).add_(w, alpha=-RATE * DECAY)
            speed.addmm_(data[i].t(), data[i + 1], alpha=RATE / len(data[i]))
            speed.addmm_(model[i].t(), model[i + 1], alpha=-RATE / len(model[i]))
            w.add_(speed)
        for b, speed, x, y in zip(self.b, self.speed[len(self.w) :], data, model, strict=True):
            speed.mul_(MOMENTUM).add_(x.mean(0) - y.mean(0), alpha=RATE)
            b.add_(speed)


def torch_rbm(visible: int, hidden: int, batch: int, chains: int, sweeps: int, net: TorchNet | None = None) -> Step:
    """As `numpy_rbm`."""
    net, rows = net or TorchNet(visible, hidden), chains or batch
    torch = net.torch
    h, v = torch.zeros(rows, hidden), torch.zeros(rows, visible)

    def step(bits: Matrix) -> None:
        with torch.inference_mode():
            data = torch.from_numpy(bits)
            h_data = net.mean(1, [data])
            if not chains:
                torch.bernoulli(h_data, out=h)
            for sweep in range(sweeps):
                torch.bernoulli(net.mean(0, [None, h]), out=v)
                h_model = net.mean(1, [v])
                if chains or sweep + 1 < sweeps:
                    torch.bernoulli(h_model, out=h)
            net.ascend([data, h_data], [v, h_model])

    return step


def torch_gaussian(visible: int, hidden: int, batch: int, chains: int, sweeps: int) -> Step:
    """As `numpy_gaussian`."""
    net = TorchNet(visible, hidden)
    torch = net.torch
    h = torch.zeros(batch, hidden)

    def step(values: Matrix) -> None:
        with torch.inference_mode():
            data = torch.from_numpy(values)
            h_data = net.mean(1, [data])
            torch.bernoulli(h_data, out=h)
            v = torch.addmm(net.b[0], h, net.w[0].t())
            v.add_(torch.randn_like(v))
            net.ascend([data, h_data], [v, net.mean(1, [v])])

    return step


def torch_dbm(sizes: tuple[int, ...], batch: int, chains: int, mean_field: int, sweeps: int) -> Step:
    """As `numpy_dbm`."""
    net, top = TorchNet(*sizes), len(sizes) - 1
    torch = net.torch
    s = [torch.zeros(chains, n) for n in sizes]

    def step(bits: Matrix) -> None:
        with torch.inference_mode():
            q = [torch.from_numpy(bits)]
            sent = torch.addmm(net.b[1], q[0], net.w[0])
            for i in range(1, top + 1):
                x = sent - net.b[1] if i == 1 else q[i - 1] @ net.w[i - 1]
                q.append(x.mul_(2 if i < top else 1).add_(net.b[i]).sigmoid_())
            for _ in range(mean_field):
                for i in range(1, top + 1):
                    if i == 1 and top > 1:
                        q[1] = torch.addmm(sent, q[2], net.w[1].t()).sigmoid_()
                    elif i > 1:
                        q[i] = net.mean(i, q)
            p = list(s)
            for _ in range(sweeps):
                for i in (*range(0, top + 1, 2), *range(1, top + 1, 2)):
                    p[i] = net.mean(i, s)
                    torch.bernoulli(p[i], out=s[i])
            net.ascend(q, [p[i] if i % 2 else s[i] for i in range(top + 1)])

    return step


def torch_ais(visible: int, hidden: int, chains: int) -> Step:
    """As `numpy_ais`."""
    net = TorchNet(visible, hidden)
    torch, w, (b, a) = net.torch, net.w[0], net.b
    v, h = torch.rand(chains, visible).round_(), torch.zeros(chains, hidden)
    weight = torch.zeros(chains, dtype=torch.float64)
    before, beta = 0.5, 0.501

    def step(_: Matrix) -> None:
        with torch.inference_mode():
            x = torch.addmm(a, v, w)
            change = torch.nn.functional.softplus(x * beta) - torch.nn.functional.softplus(x * before)
            weight.add_((beta - before) * (v @ b).double() + change.sum(1, dtype=torch.float64))
            torch.bernoulli(x.mul_(beta).sigmoid_(), out=h)
            torch.bernoulli(torch.addmm(b, h, w.t()).mul_(beta).sigmoid_(), out=v)

    return step


def sklearn_rbm(visible: int, hidden: int, batch: int, chains: int, sweeps: int) -> Step:
    """scikit-learn's BernoulliRBM: always one persistent sweep, with as many chains as cases."""
    from sklearn.neural_network import BernoulliRBM

    return BernoulliRBM(n_components=hidden, learning_rate=RATE, batch_size=batch, random_state=0).partial_fit


class Elsewhere:
    """Work in a process of its own, which is asked for so many steps at a time."""

    def __init__(self, python: str, kind: str, arguments: tuple[object, ...]) -> None:
        """Start it. Raises ImportError where its Python lacks what it needs."""
        command = [python, str(Path(__file__).with_name("speed_jax.py")), kind, json.dumps(arguments)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        hello = self._from.readline()
        if not hello:
            raise ImportError(f"{python} has no JAX")
        self.version = json.loads(hello)["jax"]

    def seconds(self, steps: int) -> tuple[float, float]:
        """What so many steps take, of the processor and of the clock."""
        print(steps, file=self._to, flush=True)
        processor, clock = json.loads(self._from.readline())
        return processor, clock

    def close(self) -> None:
        self._to.close()
        self._process.wait()
