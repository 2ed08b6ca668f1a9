import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hilum.augment.draws import normal_noise, uniform, uniforms

FILMS = torch.arange(100_000)
WORD = (1 << 64) - 1


def splitmix_finaliser(word: int) -> int:
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & WORD
    return word ^ (word >> 31)


def naive_uniform(seed: int, epoch: int, index: int, crop: int, op: int) -> float:
    golden, key = 0x9E3779B97F4A7C15, 0
    for part in (seed, epoch, crop, op):
        key = splitmix_finaliser((key + part + 1) * golden & WORD)
    return (splitmix_finaliser(splitmix_finaliser(index * golden & WORD) ^ key) >> 40) / 2**24


@given(
    seed=st.integers(-(2**70), 2**70),
    epoch=st.integers(0, 10_000),
    index=st.integers(-(2**63), 2**63 - 1),
    crop=st.integers(0, 20),
    op=st.integers(0, 100),
)
def test_equals_the_hash_in_unbounded_integers(seed, epoch, index, crop, op):
    assert uniform(seed, epoch, torch.tensor([index]), crop, op).item() == naive_uniform(
        seed, epoch, index, crop, op
    )


def test_the_numbers_stay_what_they_were():
    draws = uniform(0, 0, torch.arange(3), 0, 0)
    assert draws.tolist() == [naive_uniform(0, 0, index, 0, 0) for index in range(3)]
    assert draws.dtype == torch.float32
    assert [round(draw, 6) for draw in draws.tolist()] == [0.246057, 0.821323, 0.986889]


def test_uniform_in_the_unit_interval():
    draws = uniform(1, 2, FILMS, 0, 3)
    assert 0.0 <= draws.min() < 1e-4
    assert 1 - 1e-4 < draws.max() < 1.0
    counts = torch.histc(draws, bins=100, min=0, max=1)
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert 55 < chi_square < 160  # 99 degrees of freedom: mean 99, standard deviation 14


@pytest.mark.parametrize(
    "other",
    [(2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1), (0, 1, 0, 0), (0, 0, 1, 0)],
    ids=["seed", "epoch", "crop", "op", "swap seed and epoch", "swap seed and crop"],
)
def test_any_other_key_gives_an_independent_stream(other):
    a = uniform(1, 0, FILMS, 0, 0)
    b = uniform(other[0], other[1], FILMS, other[2], other[3])
    assert abs(torch.corrcoef(torch.stack((a, b)))[0, 1]) < 0.015  # five standard errors
    assert (a == b).float().mean() < 1e-4


def test_neighbouring_films_are_independent():
    draws = uniform(0, 0, FILMS, 0, 0)
    for lag in (1, 2, 64):
        assert abs(torch.corrcoef(torch.stack((draws[:-lag], draws[lag:])))[0, 1]) < 0.015


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=40), st.data())
def test_any_split_of_a_batch_gives_the_same_numbers(films, data):
    whole = uniforms(5, 1, torch.tensor(films), 1, (0, 4, 9))
    row = data.draw(st.integers(0, len(films) - 1))
    assert torch.equal(
        uniforms(5, 1, torch.tensor(films[row : row + 1]), 1, (0, 4, 9))[:, 0], whole[:, row]
    )
    assert torch.equal(uniform(5, 1, torch.tensor(films), 1, 4), whole[1])


def test_noise_is_white_and_normal():
    noise = normal_noise(uniform(0, 0, torch.arange(64), 0, 0), 64, 64)
    assert noise.shape == (64, 1, 64, 64)
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert abs((noise**4).mean() - 3) < 0.1
    assert abs((noise[..., 1:] * noise[..., :-1]).mean()) < 0.01
    assert abs((noise[..., 1:, :] * noise[..., :-1, :]).mean()) < 0.01
    assert abs(torch.corrcoef(noise[:2].flatten(1))[0, 1]) < 0.08


def test_noise_reaches_the_whole_tape_and_no_further():
    ends = normal_noise(torch.tensor([0.0, 1.0 - 2.0**-24]), 8, 8)
    assert not torch.equal(ends[0], ends[1])
    with pytest.raises(ValueError, match="exceeds the tape"):
        normal_noise(torch.zeros(1), 1024, 1024)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_draws_the_same():
    films = torch.arange(1000)
    on_cpu, on_gpu = uniforms(3, 1, films, 0, (0, 7)), uniforms(3, 1, films.cuda(), 0, (0, 7))
    assert torch.equal(on_cpu, on_gpu.cpu())
    assert torch.equal(normal_noise(on_cpu[0], 32, 32), normal_noise(on_gpu[0], 32, 32).cpu())
