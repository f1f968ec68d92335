"""Random misuse of every function: it works or raises what a caller can catch, and the interpreter lives on."""

import random

import numpy as np
import pytest

import palimpsest

SHAPES = [(), (0,), (3,), (16,), (0, 16), (1, 16), (4, 16), (40, 16), (4, 1, 4, 4), (4, 4, 4), (2, 9), (16, 0)]
VALUES = [
    None, 0, 1, -1, 2, 3, 1.5, float("nan"), float("inf"), 1e300, 2**31, 2**40, 2**63, -(2**70), "", "x", b"x", (), [], (1, 4, 4), (3, 2, 2),
    (0, 4, 4), {}, {"a": 1}, object(), True, print, np.float32(2), np.int8(3), np.zeros(3),
]
CHANGES = [
    lambda a: a, lambda a: a, lambda a: a, lambda a: a.astype(complex), lambda a: a.astype(object), lambda a: a.astype(">f4"),
    np.asfortranarray, lambda a: a * np.nan, lambda a: a.astype(np.float16), lambda a: a * 1e300, lambda a: a > 0, np.zeros_like,
    lambda a: a[::-1] if a.ndim else a, lambda a: a.astype("U4"), lambda a: a * 1e-45,
]


class Chance:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.normal = np.random.default_rng(seed)

    def one(self, *of):
        return self.rng.choice(of)

    def value(self):
        return self.rng.choice(VALUES)

    def array(self):
        return self.rng.choice(CHANGES)(self.normal.normal(size=self.rng.choice(SHAPES)))

    def shape(self):
        return self.one((1, 4, 4), (1, 4, 4), self.value())

    def model(self):
        h, o, d = self.one(1, 2, 8, 30), self.one(1, 1, 2, 3, 0), self.one(16, 16, 1, 0)
        scale = self.one(1, 1, 0, 1e-30, 1e30, np.nan)
        model = {
            "l.1.weight": self.normal.normal(size=(h, d)) * scale,
            "l.1.bias": self.normal.normal(size=h),
            "l.2.weight": self.normal.normal(size=(o, h)),
        }
        if self.rng.random() < 0.3:
            model[self.one("l.1.weight", "zz", 3, "l.3.weight")] = self.array()
        return self.one(model, model, model, self.value())

    def options(self, *names):
        return {name: self.value() for name in names if self.rng.random() < 0.1}

    def call(self):
        calls = [
            (palimpsest.ncc, (self.array(), self.array(), self.shape()), {}),
            (palimpsest.ssim, (self.array(), self.array(), self.shape()), self.options("window", "sigma", "data_range")),
            (palimpsest.certificate, (self.model(), self.array(), self.array()), self.options("scope", "threads")),
            (
                palimpsest.members,
                (self.model(), self.array(), self.one(None, self.array(), self.normal.normal(size=(250, 16)))),
                self.options("layer", "chain", "outputs", "prior", "threads"),
            ),
            (
                palimpsest.train,
                (self.array(), self.one([1, -1, 1, -1], [1], self.array(), self.value())),
                {"hidden": self.one([4], [2, 3], self.value()), "epochs": self.one(1, 3, 0), **self.options("weight_decay", "seed", "threads")},
            ),
            (palimpsest.separate, (self.array(), self.shape()), {"time_limit": 1, **self.options("seed", "threads", "layer")}),
            (palimpsest.sample, (self.value(),), {}),
            (
                palimpsest.audit,
                (self.model(),),
                {
                    "restarts": self.one(1, 2),
                    "steps": self.one(1, 3),
                    "time_limit": 2,
                    **self.options("input_shape", "input_range", "input_norm", "candidates", "seed", "chain", "threads", "on_progress"),
                },
            ),
        ]
        return self.rng.choice(calls)


@pytest.mark.parametrize("seed", range(4))
def test_random_misuse_raises_and_never_aborts(seed):
    chance = Chance(seed)
    for _ in range(150):
        function, arguments, options = chance.call()
        try:
            function(*arguments, **options)
        except (ValueError, TypeError, FileNotFoundError):
            pass
        except RuntimeError as error:
            assert "please report this" not in str(error), (function.__name__, arguments, options)
