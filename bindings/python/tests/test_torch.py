"""A real torch model, where torch is installed."""

import numpy as np
import pytest
from conftest import SIDE

import palimpsest

torch = pytest.importorskip("torch", reason="left out: torch is not installed, so no torch model was tried")


def model(weights):
    layers = []
    for number in range(1, 4):
        weight, bias = weights[f"layers.{number}.weight"], weights.get(f"layers.{number}.bias")
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            if bias is not None:
                layer.bias.copy_(torch.from_numpy(bias))
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def test_a_module_a_state_dict_a_file_and_arrays_give_the_same_bits(victim, tmp_path):
    weights = victim[0]
    module = model(weights)
    torch.save(module.state_dict(), tmp_path / "net.pth")
    options = {"input_shape": (1, SIDE, SIDE), "restarts": 2, "steps": 30}
    expected = palimpsest.audit(weights, **options).candidates
    for given in [module, module.state_dict(), tmp_path / "net.pth", str(tmp_path / "net.pth")]:
        assert np.array_equal(palimpsest.audit(given, **options).candidates, expected)


def test_tensors_of_every_kind_are_read(victim):
    weights, inputs, labels = victim
    halves = {name: tensor.to(torch.bfloat16) for name, tensor in model(weights).state_dict().items()}
    assert len(palimpsest.audit(halves, restarts=1, steps=3).candidates)
    grown = torch.from_numpy(inputs).requires_grad_()
    shape = (1, SIDE, SIDE)
    assert np.array_equal(palimpsest.ncc(grown, grown, shape), palimpsest.ncc(inputs, inputs, shape))
    certificate = palimpsest.certificate(model(weights), grown, torch.from_numpy(labels))
    assert certificate["relative_residual"] < 0.2
