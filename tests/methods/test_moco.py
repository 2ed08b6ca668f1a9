"""MoCo: the queue, the key encoder's course, masking by patient, and chance."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from hilum.bundle.initialization import new_backbone, seeded
from hilum.errors import OptionError
from hilum.losses.contrastive import info_nce
from hilum.methods.moco import MoCo, MoCoOptions, shuffled_order
from hilum.nn.ema import cosine_rise
from hilum.training.learner import Batch
from hilum.training.optimiser import adamw

SIZE = 32


def moco(**options: object) -> MoCo:
    with seeded(0):
        given = MoCoOptions(**{"queue_size": 24, "embedding_size": 16, **options})  # type: ignore[arg-type]
        return MoCo(new_backbone("test_resnet", SIZE, 0), given, SIZE)


def batch(of: MoCo, films: int = 8, patients: list[int] | None = None, seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (films, 1, SIZE, SIZE), dtype=torch.uint8, generator=rng)
    index = torch.arange(films)
    who = index if patients is None else torch.tensor(patients)
    films = Batch(images, index, who, index)
    return films._replace(crops=of.make_crops(films, seed))


def test_keys_enter_the_queue_after_the_loss_was_taken() -> None:
    of = moco().eval()
    given = batch(of)
    before = of.queue.copy()
    with torch.no_grad():
        query = of.projector(of.backbone(given.crops[0]))
        key = of.key_projector(of.key_backbone(given.crops[1]))
        found = of(given)
    expected = info_nce(
        query, key, before[0], of.options.temperature, given.patient[:, None] != before[1]
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(of.queue.embeddings[:8], F.normalize(key, dim=1))
    assert of.queue.patients[:8].tolist() == list(range(8))
    assert torch.equal(of.queue.embeddings[8:], before[0][8:])


def test_negatives_of_the_own_patient_are_left_out() -> None:
    alike, masked = moco(mask_same_patient=False).eval(), moco().eval()
    same = [3] * 8
    losses = []
    for of in (alike, masked):
        of(batch(of, patients=same))
        with torch.no_grad():
            losses.append(float(of(batch(of, patients=same, seed=1))))
    assert losses[1] < losses[0]
    state = {name: value.clone() for name, value in alike.state_dict().items()}
    for of in (alike, masked):  # a stranger's films are negatives in both
        of.load_state_dict(state)
        with torch.no_grad():
            losses.append(float(of(batch(of, patients=[5] * 8, seed=2))))
    assert losses[2] == pytest.approx(losses[3], abs=1e-6)


def test_a_queue_full_of_the_own_patient_costs_nothing_and_breaks_nothing() -> None:
    of = moco(queue_size=8)
    of(batch(of, patients=[1] * 8))
    loss = of(batch(of, patients=[1] * 8, seed=1))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert all(p.grad is None or p.grad.isfinite().all() for p in of.parameters())


def keys_of(of: MoCo, crops: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(1)
    return of._keys(crops)


@pytest.mark.parametrize(
    ("films", "splits", "parts"), [(8, 1, 1), (8, 4, 4), (9, 2, 2), (7, 4, 3), (3, 4, 1), (2, 4, 1)]
)
def test_keys_are_normalised_in_parts_of_two_films_at_least(
    films: int, splits: int, parts: int
) -> None:
    of = moco(key_splits=splits).train()
    crops = batch(of, films).crops
    assert crops is not None
    sizes: list[int] = []
    of.key_backbone.register_forward_hook(lambda module, given, output: sizes.append(len(output)))
    keys = keys_of(of, crops[1])
    assert (len(sizes), sum(sizes)) == (parts, films)
    assert min(sizes) >= 2
    assert keys.shape == (films, 16)


def test_split_keys_come_back_in_their_order() -> None:
    whole, split = (
        moco(key_splits=1).eval(),
        moco(key_splits=4).eval(),
    )  # in which no film depends on the others
    crops = batch(whole).crops
    assert crops is not None
    torch.testing.assert_close(keys_of(split, crops[1]), keys_of(whole, crops[1]))


def test_keys_are_shuffled_where_they_lie() -> None:
    torch.manual_seed(3)
    order = shuffled_order(9, torch.device("cpu"))
    assert order.tolist() != sorted(order.tolist()) == list(range(9))
    torch.manual_seed(3)
    assert torch.equal(order, torch.randperm(9))  # one draw of the generator that the loop seeds
    assert shuffled_order(9, torch.device("meta")).is_meta


def test_a_key_depends_on_its_part_alone_and_the_parts_on_the_step() -> None:
    of = moco(key_splits=4).train()
    crops = batch(of).crops
    assert crops is not None
    keys, changed = keys_of(of, crops[1]), crops[1].clone()
    changed[0] = torch.randn(changed[0].shape, generator=torch.Generator().manual_seed(0))
    moved = (keys_of(of, changed) - keys).abs().amax(dim=1) > 1e-6
    assert moved[0]
    assert int(moved.sum()) == 2  # itself, and the one film that shares its part
    torch.manual_seed(2)
    assert not torch.allclose(
        of._keys(crops[1]), keys, atol=1e-6
    )  # others share the parts at another step


def test_the_symmetric_loss_is_the_mean_of_both_directions_and_both_keys_are_stored() -> None:
    of = moco(symmetric=True).eval()
    given = batch(of)
    before, patients = of.queue.copy()
    with torch.no_grad():
        queries = [of.projector(of.backbone(crop)) for crop in given.crops]
        keys = [of.key_projector(of.key_backbone(crop)) for crop in given.crops]
        found = of(given)
    allowed = given.patient[:, None] != patients
    each = [
        info_nce(queries[a], keys[b], before, of.options.temperature, allowed)
        for a, b in ((0, 1), (1, 0))
    ]
    torch.testing.assert_close(found, sum(each) / 2)
    torch.testing.assert_close(
        of.queue.embeddings[:16], F.normalize(torch.cat([keys[1], keys[0]]), dim=1)
    )
    assert of.queue.patients[:16].tolist() == [*range(8), *range(8)]


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_the_key_encoder_moves_by_the_average_alone(progress: float) -> None:
    of = moco(ema_decay=0.9)
    optimiser = adamw(of, 0.05, 0.0)
    of(batch(of)).backward()
    keys = {name: p.detach().clone() for name, p in of.key_backbone.named_parameters()}
    optimiser.step()
    of.after_step(progress)
    decay = cosine_rise(0.9, progress)
    queries = dict(of.backbone.named_parameters())
    for name, parameter in of.key_backbone.named_parameters():
        expected = decay * keys[name] + (1 - decay) * queries[name].detach()
        torch.testing.assert_close(parameter, expected, atol=1e-6, rtol=1e-5)
    assert not any(p.requires_grad or p.grad is not None for p in of.key_projector.parameters())


def test_the_encoders_begin_alike() -> None:
    of = moco()
    pairs = zip(of.backbone.parameters(), of.key_backbone.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_chance_is_the_logarithm_of_the_choices() -> None:
    assert moco(queue_size=24).chance_loss(8) == pytest.approx(math.log(25))
    of = moco(
        queue_size=64, mask_same_patient=False, temperature=1e6
    ).eval()  # nothing can be told apart
    with torch.no_grad():
        assert float(of(batch(of))) == pytest.approx(of.chance_loss(8), abs=1e-4)


@pytest.mark.parametrize(("films", "expected"), [(100_000, 4096), (400, 100), (3, 1), (0, 1)])
def test_the_queue_is_held_to_a_quarter_of_the_films(films: int, expected: int) -> None:
    assert MoCoOptions().for_films(films).queue_size == expected


@pytest.mark.parametrize(
    "options",
    [
        {"queue_size": 0},
        {"key_splits": 0},
        {"embedding_size": 0},
        {"temperature": 0.0},
        {"temperature": math.nan},
        {"ema_decay": 1.5},
    ],
)
def test_options_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=r"--method\..*allowed is") as caught:
        MoCoOptions(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
