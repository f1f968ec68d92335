"""Audit a trained network for training data that its weights give away.

Four lines from a live model to pictures::

    import palimpsest
    audit = palimpsest.audit(model, input_shape=(3, 32, 32))
    print(audit)                      # the answer in sentences
    audit.to_html("report.html")      # pictures, exposure, limits; in a notebook, `audit` alone shows it

Arrays are read, never kept or changed; what comes back is yours. Work runs on all cores with the interpreter free: Ctrl-C ends it
early and keeps what was found; where half of the work is worth nothing it raises. Mistakes of the caller are `ValueError` or `TypeError`, each a sentence that says what to do.
"""

from __future__ import annotations

import html as _html
import json as _json
import os as _os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as _np
from numpy.typing import ArrayLike, NDArray

from . import _rust
from ._weights import as_file as _as_file
from ._weights import kind_in_memory as _kind_in_memory

__version__ = _rust.__version__
__all__ = ["Audit", "Peek", "audit", "certificate", "members", "ncc", "peek", "reconstruct", "sample", "separate", "ssim", "train"]

#: A path, a mapping of names to arrays or tensors (a state dict), or anything with a `state_dict()`.
Model = Union[str, "_os.PathLike[str]", Mapping[str, Any], Any]
#: Called about twice a second with `stage`, `done`, `of` (None where that is not known) and `elapsed_s`; may raise to end the work.
Progress = Callable[[dict], Any]


class Audit:
    """What the weights of a network give away."""

    def __init__(self, inner: _rust.Audit, input_shape: tuple[int, int, int] | None):
        self._inner = inner
        self._report = _json.loads(inner.report_json())
        #: Channels, height and width of an input, or None for rows of plain numbers.
        self.input_shape = input_shape
        #: Distinct inputs found, (k, d) float32, as the network saw them (their mean removed, if it was). They stand in the order of the
        #: attack, likely ones first, which is not quite that of `confidence`.
        self.reconstructions: NDArray[_np.float32] = inner.reconstructions
        #: The same as raw values, (k, d) float32, where the attack tells what was taken from all inputs; else None.
        self.raw_reconstructions: NDArray[_np.float32] | None = inner.raw_reconstructions
        #: How sure the attack is of each, (k,) float32 in [0, 1].
        self.confidence: NDArray[_np.float32] = inner.confidence
        #: Every candidate of every restart, (M, d) float32, with `multipliers` and `candidate_confidence`, (M,).
        self.candidates: NDArray[_np.float32] = inner.candidates
        self.multipliers: NDArray[_np.float32] = inner.multipliers
        self.candidate_confidence: NDArray[_np.float32] = inner.candidate_confidence
        #: Indices into `candidates` of what `reconstructions` stand for, (k,).
        self.ranking: NDArray[_np.int64] = _np.asarray(inner.ranking, dtype=_np.int64)
        #: What each stage of the attack found: dicts with `stage`, `candidates` and `why_not` (None if it ran).
        self.stages: list[dict] = _json.loads(inner.stages_json())
        #: Whether a time limit or Ctrl-C ended it before all restarts were done.
        self.stopped_early: bool = inner.stopped_early

    @property
    def answer(self) -> str:
        """The answer in sentences."""
        return self._inner.answer()

    @property
    def exposure(self) -> dict:
        """What the weights said before the attack: a dict with the verdict, a sentence and the signs it rests on."""
        return self._report["attackability"]

    @property
    def report(self) -> dict:
        """Everything on the page, as data."""
        return self._report

    @property
    def images(self) -> NDArray[_np.float32]:
        """The inputs found as pictures, (k, channels, height, width): raw values where they are known."""
        if self.input_shape is None:
            raise ValueError("inputs are rows of plain numbers; declare input_shape=(channels, height, width) in audit()")
        rows = self.reconstructions if self.raw_reconstructions is None else self.raw_reconstructions
        return rows.reshape(len(rows), *self.input_shape)

    def to_html(self, path: str | _os.PathLike[str]) -> Path:
        """Writes the report, one page without other files, and returns its path."""
        path = Path(path)
        path.write_text(self._inner.html(), encoding="utf-8")
        return path

    def write(self, folder: str | _os.PathLike[str]) -> Path:
        """Writes all files that `palimpsest audit` writes into `folder`, which is made if need be."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._inner.write(folder)
        return folder

    def plot(self, count: int = 50, columns: int = 10):
        """The surest `count` pictures with their confidence, a matplotlib figure."""
        try:
            from matplotlib import pyplot
        except ImportError:
            raise ImportError("plot() needs matplotlib: pip install matplotlib; to_html() does not") from None
        surest = _np.argsort(-self.confidence, kind="stable")[:count]
        return _plot(pyplot, self.images[surest], self.confidence[surest], columns)

    def __str__(self) -> str:
        return self.answer

    def __repr__(self) -> str:
        return f"<palimpsest.Audit: {len(self.reconstructions)} inputs found>"

    def _repr_html_(self) -> str:
        page = _html.escape(self._inner.html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:720px;border:0" sandbox></iframe>'


class Peek:
    """Pictures in one layer, up to sign."""

    def __init__(self, found: dict, input_shape: tuple[int, int, int]):
        #: Pictures as the layer sees them, (k, d) float32, of unit length and unknown sign, surest first.
        self.pictures: NDArray[_np.float32] = found["pictures"]
        #: Probability that each is a training image, up to sign, (k,) float64.
        self.confidence: NDArray[_np.float64] = found["confidence"]
        #: What all images seem to have in common, (b, d) float32.
        self.shared_backgrounds: NDArray[_np.float32] = found["shared_backgrounds"]
        #: Name of the layer.
        self.layer: str = found["layer"]
        #: Whether a time limit or Ctrl-C ended it.
        self.stopped_early: bool = found["stopped_early"]
        self.input_shape = input_shape

    @property
    def images(self) -> NDArray[_np.float32]:
        """The pictures, (k, channels, height, width)."""
        return self.pictures.reshape(len(self.pictures), *self.input_shape)

    def __repr__(self) -> str:
        return f"<palimpsest.Peek: {len(self.pictures)} pictures in {self.layer}>"


def audit(
    model: Model,
    *,
    input_shape: Sequence[int] | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
    input_norm: float | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    candidates: int | None = None,
    seed: int = 0,
    chain: str | None = None,
    threads: int | None = None,
    time_limit: float | None = None,
    on_progress: Progress | None = None,
) -> Audit:
    """Attacks the weights of a binary ReLU classifier and says what they give away.

    Args:
        model: a path to weights (.pth, .safetensors, .npz, .onnx, .keras, .palimpsest), a state dict of tensors or arrays, or a
            torch module. It is not changed.
        input_shape: (channels, height, width) where inputs are pictures, with 1 or 3 channels; else inputs are rows of numbers.
        input_range: smallest and largest raw value of an input.
        input_norm: typical Euclidean norm of an input as the network saw it, if it is known.
        restarts: independent starts, exactly so many [until the last eight bring nothing new, at most 48].
        steps: steps of each start [800].
        candidates: candidates of each start, at least 2 [twice the directions of the weights].
        seed: the result is a function of the weights, these options and the seed, for any number of threads.
        chain: which chain of dense layers is meant, where there are several.
        threads: 1 to 1024 [all cores].
        time_limit: seconds after which no start is begun or continued; the result then depends on the machine.
        on_progress: called about twice a second with a dict; may raise to end the audit.

    Raises:
        ValueError, TypeError: for a model or an option that cannot be used.
        FileNotFoundError: for a path where nothing is.
    """
    shape = _shape(input_shape)
    with _as_file(model) as path:
        inner = _rust.audit(
            path,
            input_shape=shape,
            input_range=_range(input_range),
            input_norm=None if input_norm is None else float(input_norm),
            restarts=_count("restarts", restarts),
            steps=_count("steps", steps),
            candidates=_count("candidates", candidates),
            seed=_seed(seed),
            chain=chain,
            threads=_count("threads", threads),
            time_limit=None if time_limit is None else float(time_limit),
            on_progress=_callback(on_progress),
            in_memory=_kind_in_memory(model),
        )
    return Audit(inner, shape)


def reconstruct(model: Model, **options: Any) -> dict[str, Any]:
    """The attack of :func:`audit` as plain arrays, with the same options.

    Returns:
        A dict with `reconstructions` (k, d), `confidence` (k,), `candidates` (M, d), `multipliers` (M,), `candidate_confidence` (M,),
        `ranking` (k,), `stages` and `stopped_early`.
    """
    found = audit(model, **options)
    names = (
        "reconstructions", "confidence", "candidates", "multipliers", "candidate_confidence", "ranking", "stages", "stopped_early",
    )
    return {name: getattr(found, name) for name in names}


def peek(
    model: Model,
    input_shape: Sequence[int],
    *,
    layer: str | None = None,
    chain: str | None = None,
    seed: int = 0,
    threads: int | None = None,
    time_limit: float | None = None,
    on_progress: Progress | None = None,
) -> Peek:
    """Looks for pictures in one layer of any network: separation alone, up to sign.

    Args:
        model: as in :func:`audit`; what the network computes does not matter.
        input_shape: (channels, height, width) of the pictures that the layer sees.
        layer: name of its weights [the first matrix that takes such pictures].
        chain: take the first layer of this chain of dense layers instead.
    """
    shape = _shape(input_shape)
    if shape is None:
        raise ValueError("peek() needs input_shape=(channels, height, width) of the pictures that the layer sees")
    with _as_file(model) as path:
        found = _rust.peek(
            path,
            shape,
            layer=layer,
            chain=chain,
            seed=_seed(seed),
            threads=_count("threads", threads),
            time_limit=None if time_limit is None else float(time_limit),
            on_progress=_callback(on_progress),
        )
    return Peek(found, shape)


def separate(weight: ArrayLike, input_shape: Sequence[int], **options: Any) -> Peek:
    """:func:`peek` into a matrix of weights (h, d) that is in memory, d being the size of a picture."""
    matrix = _matrix("weight", weight, _np.float32)
    return peek({"layers.1.weight": matrix}, input_shape, layer="layers.1.weight", **options)


def members(
    model: Model,
    records: ArrayLike,
    reference: ArrayLike | None = None,
    *,
    layer: str | None = None,
    chain: str | None = None,
    outputs: str = "classes",
    prior: float | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Tells which of given records a network was trained on, with a p-value each.

    Args:
        model: as in :func:`audit`.
        records: the records in question as the network sees them, (m, d) or (m, channels, height, width).
        reference: at least 200 records of the same kind that were surely not trained on, (n, d); without it records are only ranked.
        layer: name of a dense layer; the records are then what it sees, and the rest of the network does not matter.
        chain: which chain of dense layers is meant, where there are several.
        outputs: "classes" for margins and logits, "values" for a regression.
        prior: probability of being a member before looking, above 0 and below 1.

    Returns:
        A dict with a vector (m,) each: `p_value`, `log10_p`, `probability`, `score`, `span_share`, `span_score`, `gradient_score`,
        `multiplier`, `own_loss`, `margin`, `strangeness`, as in docs/members.md (None where it is not known), `same_reference` (row of
        the reference that is the same, or -1) and `ranking`, the most exposed first. Besides, `called_members`: how many of the first in
        `ranking` can be called members with at most 5 % of these wrong; `references` that were used; `rank` and `floor` of the layer.
    """
    rows = _rows("records", records)
    others = None if reference is None else _rows("reference", reference)
    prior = None if prior is None else float(prior)
    with _as_file(model) as path:
        return _rust.members(path, rows, others, layer, chain, outputs, prior, _count("threads", threads))


def ssim(
    a: ArrayLike,
    b: ArrayLike,
    input_shape: Sequence[int],
    *,
    window: int = 3,
    sigma: float = 1.5,
    data_range: float = 1.0,
) -> NDArray[_np.float64]:
    """Structural similarity of the pairs of rows of `a` and `b`, (n, d) or (n, channels, height, width), (n,) in [-1, 1].

    The defaults are those of the published counts, for pictures in [0, 1].
    """
    shape = _needed(input_shape)
    window = _count("window", window) or 0
    return _rust.ssim(_rows("a", a), _rows("b", b), shape, window, float(sigma), float(data_range))


def ncc(a: ArrayLike, b: ArrayLike, input_shape: Sequence[int]) -> NDArray[_np.float32]:
    """Normalised cross-correlation of every row of `a` with every row of `b`, (n, d) and (m, d): (n, m) in [-1, 1]."""
    return _rust.ncc(_rows("a", a), _rows("b", b), _needed(input_shape))


def certificate(
    model: Model, inputs: ArrayLike, labels: ArrayLike, *, scope: str = "all_layers", threads: int | None = None
) -> dict[str, Any]:
    """How well the true `inputs` (n, d), as the network saw them, and `labels` (n,) in {-1, +1} explain the weights.

    It needs the training data: for whoever trained the network, not for an attack. `scope` is "all_layers" or "first_layer".

    Returns:
        A dict with `relative_residual` (0 at a stationary point), the same of each of the `layers`, `support` (examples with a
        positive multiplier) and `multipliers` (n,).
    """
    x = _matrix("inputs", inputs, _np.float64)
    with _as_file(model) as path:
        return _rust.certificate(path, x, _labels(labels).tolist(), scope, _count("threads", threads))


def train(
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    hidden: Sequence[int] = (1000, 1000),
    weight_decay: float = 2e-3,
    epochs: int = 4000,
    seed: int = 0,
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> dict[str, NDArray[_np.float32]]:
    """Trains a binary classifier to try the rest on: `inputs` (n, d), their mean removed, `labels` (n,) in {-1, +1}.

    Ctrl-C raises: weights of half a training are not returned.

    Returns:
        Its weights by name, as :func:`audit` takes them: `layers.1.weight` (out, in), `layers.1.bias` (out,), ...
    """
    x = _matrix("inputs", inputs, _np.float32)
    y = _labels(labels).astype(_np.float32)
    widths = [_count("hidden", width) or 0 for width in hidden]
    epochs = _count("epochs", epochs) or 0
    threads = _count("threads", threads)
    return _rust.train(x, y, widths, float(weight_decay), epochs, _seed(seed), threads, _callback(on_progress))


def sample(name: str = "mnist") -> dict[str, Any]:
    """A small sample of a data set that is part of the package, to try the rest on: "mnist", "fashion-mnist" or "digits".

    Returns:
        A dict with `images` (n, d) float32 in [0, 1], `labels` (n,) int64, and `shape`, (channels, height, width).
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a data set is a string, got {name!r}")
    return _rust.sample(name)


def _plot(pyplot: Any, images: NDArray, confidence: NDArray, columns: int):
    if len(images) == 0:
        raise ValueError("there is no picture to show")
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(1.2 * columns, 1.4 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, sure in zip(axes.flat, images, confidence):
        low, high = float(image.min()), float(image.max())
        shown = _np.moveaxis((image - low) / max(high - low, 1e-12), 0, -1)
        axis.imshow(shown.squeeze(), cmap="gray" if shown.shape[-1] == 1 else None)
        axis.set_title(f"{sure:.2f}", fontsize=8)
    figure.tight_layout()
    return figure


def _shape(input_shape: Sequence[int] | None) -> tuple[int, int, int] | None:
    if input_shape is None:
        return None
    sides = [_count("a side of input_shape", side) or 0 for side in input_shape]
    if len(sides) != 3 or sides[0] not in (1, 3) or min(sides) < 1:
        raise ValueError(f"input_shape must be (channels, height, width) with 1 or 3 channels, got {tuple(input_shape)}")
    return (sides[0], sides[1], sides[2])


def _needed(input_shape: Sequence[int]) -> tuple[int, int, int]:
    shape = _shape(input_shape)
    if shape is None:
        raise ValueError("input_shape=(channels, height, width) is needed")
    return shape


def _range(input_range: Sequence[float]) -> tuple[float, float]:
    if not isinstance(input_range, Sequence) and not isinstance(input_range, _np.ndarray) or len(input_range) != 2:
        raise TypeError(f"input_range must be two numbers, the smallest and the largest raw value, got {input_range!r}")
    return (float(input_range[0]), float(input_range[1]))


def _count(name: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        number = value.__index__()
    except AttributeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if not 0 <= number < 1 << 62:
        raise ValueError(f"{name} must be between 0 and 2^62, got {number}")
    return number


def _seed(value: Any) -> int:
    number = _count("seed", value)
    if number is None:
        raise TypeError("seed must be a whole number, got None")
    return number


def _callback(on_progress: Progress | None) -> Progress | None:
    if on_progress is not None and not callable(on_progress):
        raise TypeError(f"on_progress must be callable, got {type(on_progress).__name__}")
    return on_progress


def _matrix(name: str, value: ArrayLike, dtype: Any) -> NDArray:
    array = _real(name, value)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must be a matrix that is not empty, got shape {array.shape}")
    # What is above the largest float32 becomes infinite, and that is refused further on.
    with _np.errstate(over="ignore"):
        return _np.ascontiguousarray(array, dtype=dtype)


def _rows(name: str, value: ArrayLike) -> NDArray:
    array = _real(name, value)
    if array.ndim == 4:
        array = array.reshape(len(array), -1)
    return _matrix(name, array, _np.float32)


def _labels(value: ArrayLike) -> NDArray[_np.int8]:
    array = _real("labels", value)
    if array.ndim != 1 or not _np.isin(array, (-1, 1)).all():
        raise ValueError(f"labels must be a vector of -1 and +1, got shape {array.shape}")
    return array.astype(_np.int8)


def _real(name: str, value: Any) -> NDArray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = _np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array
