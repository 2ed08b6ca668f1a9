import numpy as np
import pytest
import torch
from torch import nn

from hilum.classifier.folding import fold
from hilum.metrics.calibration import Calibration, fit_calibrations, uncalibrated


def test_the_folded_layer_gives_calibrated_logits():
    torch.manual_seed(0)
    head, features = nn.Linear(8, 3), torch.randn(40, 8)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    folded = fold(head, [Calibration(2.0, -1.0), None, Calibration(0.5, 3.0)])
    raw, after = head(features), folded(features)
    expected = torch.stack([raw[:, 0] / 2 - 1, raw[:, 1], raw[:, 2] / 0.5 + 3], dim=1)
    torch.testing.assert_close(after, expected)
    assert all(torch.equal(head.state_dict()[name], value) for name, value in before.items())


def test_raw_probabilities_can_be_had_back():
    torch.manual_seed(1)
    head, features = nn.Linear(4, 2), torch.randn(300, 4)
    with torch.no_grad():
        raw = head(features).numpy()
        truth = (np.random.default_rng(0).random((300, 2)) < 0.3).astype(float)
        found = fit_calibrations(truth, np.ones((300, 2)), raw)
        after = fold(head, found)(features).sigmoid().numpy()
    for finding, calibration in enumerate(found):
        back = uncalibrated(after[:, finding], calibration)
        assert back == pytest.approx(1 / (1 + np.exp(-raw[:, finding])), abs=1e-3)


def test_a_wrong_number_and_a_missing_bias_are_refused():
    with pytest.raises(ValueError, match="1 calibrations"):
        fold(nn.Linear(4, 2), [None])
    with pytest.raises(ValueError, match="bias"):
        fold(nn.Linear(4, 1, bias=False), [None])
