"""Probes of frozen features: against a naive loop and scikit-learn, with cells left out, on as little as one film."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from hilum.classifier.probes import FeatureScale, LinearProbe, knn_scores, out_of_fold_logits
from hilum.metrics.ranking import auroc


def labelled(films: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features [n, 5], targets [n, 3] that follow them, and weights with gaps."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(films, 5, generator=generator)
    targets = (features[:, :3] + 0.5 * torch.randn(films, 3, generator=generator) > 0).float()
    return features, targets, (torch.rand(films, 3, generator=generator) > 0.2).float()


def test_nearest_neighbours_agree_with_a_naive_loop() -> None:
    memory, targets, weights = labelled()
    features, _, _ = labelled(7, seed=1)
    found = knn_scores(features, memory, targets, weights, neighbours=9)
    for film, feature in enumerate(features.numpy()):
        cosine = [
            float(np.dot(feature, m) / np.linalg.norm(feature) / np.linalg.norm(m))
            for m in memory.numpy()
        ]
        near = sorted(range(len(cosine)), key=lambda place: -cosine[place])[:9]
        for finding in range(3):
            counts = [
                np.exp(cosine[place] / 0.1) * float(weights[place, finding]) for place in near
            ]
            share = sum(
                c * float(targets[p, finding]) for c, p in zip(counts, near, strict=True)
            ) / sum(counts)
            assert float(found[film, finding]) == pytest.approx(share, abs=1e-5)


def test_a_finding_of_which_no_neighbour_says_anything_gets_its_mean() -> None:
    memory, targets, weights = labelled()
    weights[:, 1] = 0
    weights[0, 1], targets[0, 1] = 1, 1
    near = knn_scores(-memory[:1], memory, targets, weights, neighbours=1)
    assert float(near[0, 1]) == 1.0


def test_the_linear_probe_agrees_with_scikit_learn() -> None:
    features, targets, _ = labelled(400)
    penalty = 1e-2
    ours = LinearProbe(features, targets, torch.ones_like(targets), penalty)(features).numpy()
    inputs = ((features - features.mean(0)) / features.std(0)).numpy()
    # Ours: the mean over the 3 x 400 cells + penalty w^2; theirs: C x the sum over 400 films + w^2
    # / 2.
    theirs = [
        LogisticRegression(C=1 / (2 * penalty * targets.numel()), max_iter=1000, tol=1e-8)
        .fit(inputs, target)
        .decision_function(inputs)
        for target in targets.numpy().T
    ]
    assert np.allclose(ours, np.stack(theirs, axis=1), atol=0.01)


def test_cells_of_no_weight_change_nothing() -> None:
    features, targets, weights = labelled()
    other = torch.where(weights > 0, targets, 1 - targets)
    assert torch.equal(
        LinearProbe(features, targets, weights, 1e-3)(features),
        LinearProbe(features, other, weights, 1e-3)(features),
    )


def test_one_film_is_enough_for_finite_scores() -> None:
    features, targets, _ = labelled(1)
    others, _, _ = labelled(4, seed=2)
    assert LinearProbe(features, targets, torch.ones_like(targets), 1e-3)(others).isfinite().all()
    assert knn_scores(others, features, targets, torch.ones_like(targets), 50).isfinite().all()


def visits(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features [n, 40] of 60 patients with four films each, targets [n, 1] and patients.

    The finding is the patient's; 30 directions vary from film to film, three times as much.
    """
    generator = torch.Generator().manual_seed(seed)
    patients = torch.arange(60).repeat_interleave(4)
    turn = torch.linalg.qr(torch.randn(40, 40, generator=generator))[0]
    own = torch.randn(60, 10, generator=generator)[patients]
    nuisance = 3 * torch.randn(240, 30, generator=generator)
    targets = (own[:, :1] + own[:, 1:2] > 0).float()
    return torch.cat([own, nuisance], dim=1) @ turn, targets, patients


def auroc_of(scores: torch.Tensor, targets: torch.Tensor) -> float:
    return auroc(targets[:, 0].numpy(), scores[:, 0].numpy())


def test_what_varies_within_patients_weighs_less() -> None:
    features, _, patients = visits()
    plain, scaled = FeatureScale(features), FeatureScale(features, patients)

    def within(values: torch.Tensor) -> float:
        means = values.reshape(60, 4, -1).mean(1)[patients]
        return float((values - means).square().sum() / values.square().sum())

    assert within(scaled(features)) < 0.95 * within(plain(features))
    assert float(scaled(features).square().sum()) == pytest.approx(
        float(plain(features).square().sum()), rel=1e-4
    )


def test_scaling_by_patient_finds_what_is_the_patients() -> None:
    gains = []
    for seed in range(4):
        features, targets, patients = visits(seed)
        held_out = patients % 5
        plain, scaled = (
            out_of_fold_logits(features, targets, torch.ones_like(targets), held_out, [0.1], who)[0]
            for who in (None, patients)
        )
        gains.append(auroc_of(scaled, targets) - auroc_of(plain, targets))
    assert min(gains) > 0


@pytest.mark.parametrize("by_patient", [False, True])
def test_the_layer_for_features_as_they_are_gives_the_same_logits(by_patient: bool) -> None:
    features, targets, patients = visits()
    scale = FeatureScale(features, patients if by_patient else None)
    probe = LinearProbe(features, targets, torch.ones_like(targets), 1e-2, scale)
    weight, bias = probe.layer()
    assert torch.allclose(features @ weight.T + bias, probe(features), atol=1e-4)


def test_patients_of_one_film_each_leave_the_spread_alone() -> None:
    features, _, _ = labelled()
    alone = FeatureScale(features, torch.arange(len(features)))
    assert torch.equal(alone(features), FeatureScale(features)(features))


def test_films_of_a_patient_that_are_equal_leave_the_spread_alone() -> None:
    features, _, _ = labelled(30)
    twice = features.repeat(2, 1)
    scale = FeatureScale(twice, torch.arange(30).repeat(2))
    assert torch.allclose(scale(twice), FeatureScale(twice)(twice))
