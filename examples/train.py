"""A small network that tells two spirals apart: what a training script needs to be tuned.

By hand it prints its reports: ``python examples/train.py --lr 0.1``.
"""

import argparse

import numpy as np

from asynctune import checkpoint_dir, report

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--momentum", type=float, default=0.9)
parser.add_argument("--units", type=int, default=32)
parser.add_argument("--batch_size", type=int, default=32)
parser.add_argument("--epochs", type=int, default=40)
given = parser.parse_args()

# Two noisy spirals, and the weights to begin with.
rng = np.random.default_rng(0)
label = np.arange(1200) % 2
angle = np.sqrt(rng.uniform(0.05, 1.0, 1200)) * 2.5 * np.pi
along = np.stack([np.cos(angle + np.pi * label), np.sin(angle + np.pi * label)], 1)
x = along * angle[:, None] / 4.0 + rng.normal(0, 0.12, (1200, 2))
y = 2.0 * label - 1.0
weights = {
    "w1": rng.normal(0, 1.5, (2, given.units)),
    "b1": rng.normal(0, 1.5, given.units),
    "w2": rng.normal(0, 1.0, given.units) / np.sqrt(given.units),
}
speed = {name: np.zeros_like(value) for name, value in weights.items()}

# Where an earlier attempt was paused, training goes on.
folder = checkpoint_dir()  # None by hand
epoch = 0
if folder is not None and (folder / "state.npz").exists():
    state = np.load(folder / "state.npz")
    epoch = int(state["epoch"])
    weights = {name: state[name] for name in weights}
    speed = {name: state[f"speed_{name}"] for name in speed}

while epoch < given.epochs:
    shuffled = np.random.default_rng(epoch).permutation(800)
    for rows in np.split(shuffled, range(given.batch_size, 800, given.batch_size)):
        hidden = np.tanh(x[rows] @ weights["w1"] + weights["b1"])
        margin = np.clip(y[rows] * (hidden @ weights["w2"]), -30.0, 30.0)
        slope = -y[rows] / (1.0 + np.exp(margin)) / len(rows)
        inner = np.outer(slope, weights["w2"]) * (1.0 - hidden**2)
        gradients = {"w1": x[rows].T @ inner, "b1": inner.sum(0), "w2": hidden.T @ slope}
        for name, gradient in gradients.items():
            speed[name] = given.momentum * speed[name] - given.lr * gradient
            weights[name] = weights[name] + speed[name]
    epoch += 1
    outputs = np.tanh(x[800:] @ weights["w1"] + weights["b1"]) @ weights["w2"]
    val_loss = float(np.mean(np.logaddexp(0.0, -y[800:] * outputs)))
    val_error = float(np.mean(y[800:] * outputs <= 0.0))
    if folder is not None:
        temporary = folder / "state.tmp.npz"
        speeds = {f"speed_{name}": value for name, value in speed.items()}
        np.savez(temporary, epoch=epoch, **weights, **speeds)
        temporary.replace(folder / "state.npz")
    if report(epoch=epoch, val_loss=val_loss, val_error=val_error):
        break  # told to pause or to stop
