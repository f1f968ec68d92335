"""Types of the compiled part; use the functions of `palimpsest`."""

from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

class Audit:
    @property
    def reconstructions(self) -> NDArray[np.float32]: ...
    @property
    def raw_reconstructions(self) -> NDArray[np.float32] | None: ...
    @property
    def confidence(self) -> NDArray[np.float32]: ...
    @property
    def candidates(self) -> NDArray[np.float32]: ...
    @property
    def multipliers(self) -> NDArray[np.float32]: ...
    @property
    def candidate_confidence(self) -> NDArray[np.float32]: ...
    @property
    def ranking(self) -> list[int]: ...
    @property
    def stopped_early(self) -> bool: ...
    def answer(self) -> str: ...
    def html(self) -> str: ...
    def report_json(self) -> str: ...
    def stages_json(self) -> str: ...
    def write(self, folder: str | PathLike[str]) -> None: ...

def audit(
    path: str | PathLike[str],
    *,
    input_shape: tuple[int, int, int] | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
    input_norm: float | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    candidates: int | None = None,
    seed: int = 0,
    chain: str | None = None,
    threads: int | None = None,
    time_limit: float | None = None,
    on_progress: Callable[[dict], Any] | None = None,
    in_memory: str | None = None,
) -> Audit: ...
def peek(
    path: str | PathLike[str],
    input_shape: tuple[int, int, int],
    *,
    layer: str | None = None,
    chain: str | None = None,
    seed: int = 0,
    threads: int | None = None,
    time_limit: float | None = None,
    on_progress: Callable[[dict], Any] | None = None,
) -> dict[str, Any]: ...
def members(
    path: str | PathLike[str],
    records: NDArray[np.float32],
    references: NDArray[np.float32] | None,
    layer: str | None,
    chain: str | None,
    outputs: str,
    prior: float | None,
    threads: int | None,
) -> dict[str, Any]: ...
def ssim(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    shape: tuple[int, int, int],
    window: int,
    sigma: float,
    data_range: float,
) -> NDArray[np.float64]: ...
def ncc(a: NDArray[np.float32], b: NDArray[np.float32], shape: tuple[int, int, int]) -> NDArray[np.float32]: ...
def certificate(
    path: str | PathLike[str], inputs: NDArray[np.float64], labels: list[int], scope: str, threads: int | None
) -> dict[str, Any]: ...
def train(
    inputs: NDArray[np.float32],
    labels: NDArray[np.float32],
    hidden: list[int],
    weight_decay: float,
    epochs: int,
    seed: int,
    threads: int | None,
    on_progress: Callable[[dict], Any] | None,
) -> dict[str, NDArray[np.float32]]: ...
def sample(name: str) -> dict[str, Any]: ...
