"""Ten thousand rounds of the small functions under a memory limit; prints how many bytes more are resident afterwards.

`test_numpy.py` runs it as a process of its own, so that neither the limit nor what other tests held counts.
"""

import gc
import resource
import sys
from pathlib import Path

import numpy as np

import palimpsest

SHAPE = (1, 16, 16)
#: A single picture array that is kept each round is 64 kB, all of them 640 MB.
PICTURES = 64
#: Address space beyond what is taken after the first rounds.
ROOM = 256 << 20


def pages(field):
    return int(Path("/proc/self/statm").read_text().split()[field]) * resource.getpagesize()


def refused(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except (ValueError, TypeError):
        return
    sys.exit(f"{call.__name__} took what it must refuse")


def rounds(count):
    rng = np.random.default_rng(0)
    rows = rng.random((PICTURES, 256), dtype=np.float32)
    weights = {"layers.1.weight": rng.normal(size=(8, 256)), "layers.2.weight": rng.normal(size=(1, 8))}
    mixed = rng.normal(size=(6, 3)) @ rng.random((3, 16))
    labels = np.where(np.arange(PICTURES) % 2, 1, -1)
    for number in range(count):
        palimpsest.ncc(rows, rows, SHAPE)
        palimpsest.ssim(rows, rows, SHAPE)
        refused(palimpsest.ssim, rows, rows[:2], SHAPE)
        # These make a file and a pool of threads.
        if number % 20 == 0:
            palimpsest.certificate(weights, rows, labels)
            palimpsest.separate(mixed, (1, 4, 4))
            palimpsest.train(rows[:2], [1, -1], hidden=[2], epochs=1)
            refused(palimpsest.audit, weights, input_shape=(1, 5, 5))
            refused(palimpsest.members, weights, rows, rows)
    gc.collect()


rounds(500)
resource.setrlimit(resource.RLIMIT_AS, (pages(0) + ROOM, resource.RLIM_INFINITY))
before = pages(1)
rounds(10_000)
print(pages(1) - before)
