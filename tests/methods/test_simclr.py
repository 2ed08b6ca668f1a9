"""SimCLR: what is compared with what, masking by patient, the head, and chance."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hilum.bundle.initialization import new_backbone, seeded
from hilum.errors import OptionError
from hilum.losses.contrastive import nt_xent
from hilum.methods.simclr import SimCLR, SimCLROptions
from hilum.training.learner import Batch

SIZE = 32


def simclr(**options: object) -> SimCLR:
    with seeded(0):
        given = SimCLROptions(**{"embedding_size": 16, **options})  # type: ignore[arg-type]
        return SimCLR(new_backbone("test_resnet", SIZE, 0), given, SIZE)


def batch(of: SimCLR, films: int = 8, patients: list[int] | None = None, seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (films, 1, SIZE, SIZE), dtype=torch.uint8, generator=rng)
    index = torch.arange(films)
    who = index if patients is None else torch.tensor(patients)
    bare = Batch(images, index, who, index)
    return bare._replace(crops=of.make_crops(bare, seed))


def test_is_nt_xent_of_the_projections_with_the_own_patients_left_out() -> None:
    of = simclr().eval()
    given = batch(of, patients=[0, 0, 1, 2, 2, 2, 3, 4])
    with torch.no_grad():
        first, second = (of.projector(of.backbone(crop)) for crop in given.crops)
        masked = nt_xent(first, second, 0.2, allowed=given.patient[:, None] != given.patient)
        torch.testing.assert_close(of(given), masked)
        everyone = simclr(mask_same_patient=False).eval()
        torch.testing.assert_close(everyone(given), nt_xent(first, second, 0.2))
        assert float(masked) < float(everyone(given))


def test_films_of_one_patient_only_cost_nothing_and_break_nothing() -> None:
    of = simclr().train()
    loss = of(batch(of, patients=[5] * 8))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert all(p.grad is None or p.grad.isfinite().all() for p in of.parameters())


def test_both_crops_share_the_statistics_of_one_batch() -> None:
    of = simclr().train()
    given = batch(of)
    found = of(given)
    with torch.no_grad():
        first, second = of.projector(of.backbone(torch.cat(given.crops))).chunk(2)
    torch.testing.assert_close(found.detach(), nt_xent(first, second, 0.2))


@pytest.mark.parametrize(("batch_norm", "norms"), [(True, 1), (False, 0)])
def test_the_head_is_normalised_if_wanted(batch_norm: bool, norms: int) -> None:
    head = simclr(batch_norm=batch_norm, hidden_size=40).projector
    assert sum(isinstance(module, nn.BatchNorm1d) for module in head) == norms
    assert [m.out_features for m in head if isinstance(m, nn.Linear)] == [40, 16]
    plain = simclr()
    assert plain.projector[0].out_features == plain.backbone.out_features


def test_the_second_crop_is_cut_from_the_twin() -> None:
    of = simclr()
    given = batch(of)
    positives = (given.images.flip(0), given.index.flip(0))
    first, second = of.make_crops(given._replace(positives=positives), 0)
    assert torch.equal(first, given.crops[0])
    assert torch.equal(second, given.crops[1].flip(0))


def test_chance_is_the_logarithm_of_the_choices() -> None:
    of = simclr(temperature=1e6).eval()  # nothing can be told apart
    assert of.chance_loss(8) == pytest.approx(math.log(15))
    with torch.no_grad():
        assert float(of(batch(of))) == pytest.approx(of.chance_loss(8), abs=1e-4)


def test_one_film_has_no_negatives() -> None:
    of = simclr()
    with pytest.raises(OptionError, match=r"--train\.batch-size is 1: .*2 or more"):
        of(batch(of, films=1))


@pytest.mark.parametrize(
    "options", [{"embedding_size": 0}, {"hidden_size": -1}, {"temperature": 0.0}]
)
def test_options_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=r"--method\..*allowed is") as caught:
        SimCLROptions(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
