"""A small network that has learned its pictures by heart, trained once."""

import signal

import numpy as np
import pytest

import palimpsest

SIDE = 12
COUNT = 12


def pictures(seed=3):
    """Pictures of rectangles, (COUNT, SIDE * SIDE), between 0 and 1."""
    rng = np.random.default_rng(seed)
    images = np.zeros((COUNT, SIDE, SIDE), dtype=np.float32)
    for image in images:
        for _ in range(6):
            top, left = rng.integers(0, SIDE - 4, 2)
            bottom, right = rng.integers(top + 3, SIDE), rng.integers(left + 3, SIDE)
            image[top:bottom, left:right] = rng.random()
    return images.reshape(COUNT, -1)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c():
    """A shell that starts a job in the background has it ignore Ctrl-C, which tests send."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def victim():
    """Weights by name, the inputs as the network saw them and their labels."""
    raw = pictures()
    inputs = raw - raw.mean(axis=0)
    labels = np.where(np.arange(COUNT) % 2 == 0, 1, -1)
    weights = palimpsest.train(inputs, labels, hidden=[120, 60], weight_decay=4e-3, epochs=6000)
    return weights, inputs, labels


@pytest.fixture(scope="session")
def audited(victim):
    return palimpsest.audit(victim[0], input_shape=(1, SIDE, SIDE), restarts=2, steps=60)
