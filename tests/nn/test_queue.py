"""The queue against a Python deque."""

from __future__ import annotations

from collections import deque

import pytest
import torch
import torch.nn.functional as F

from hilum.nn.queue import NO_PATIENT, Queue


def batches(sizes: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    rng = torch.Generator().manual_seed(1)
    return [
        (
            F.normalize(torch.randn(size, 4, generator=rng), dim=1),
            torch.randint(0, 99, (size,), generator=rng),
        )
        for size in sizes
    ]


@pytest.mark.parametrize(
    ("size", "pushed"), [(7, [3, 3, 3, 3, 1]), (8, [4, 4, 4]), (5, [7, 2, 11, 5]), (1, [1, 4])]
)
def test_keeps_the_last_in_first_out(size: int, pushed: list[int]) -> None:
    queue = Queue(size, 4)
    start = queue.copy()[0]
    expected = deque([(tuple(vector.tolist()), NO_PATIENT) for vector in start], maxlen=size)
    for vectors, patients in batches(pushed):
        queue.push(vectors, patients)
        expected.extend(zip((tuple(v.tolist()) for v in vectors), patients.tolist(), strict=True))
        found = list(
            zip((tuple(v.tolist()) for v in queue.embeddings), queue.patients.tolist(), strict=True)
        )
        oldest = int(queue.place)
        assert found[oldest:] + found[:oldest] == list(expected)


def test_begins_with_unit_vectors_of_nobody_that_depend_on_nothing() -> None:
    torch.manual_seed(5)
    first = Queue(6, 3)
    torch.manual_seed(6)
    assert torch.equal(first.embeddings, Queue(6, 3).embeddings)
    torch.testing.assert_close(first.embeddings.norm(dim=1), torch.ones(6))
    assert set(first.patients.tolist()) == {NO_PATIENT}


def test_a_copy_is_untouched_by_later_pushes() -> None:
    queue = Queue(4, 4)
    vectors, patients = queue.copy()
    before = vectors.clone(), patients.clone()
    queue.push(*batches([4])[0])
    assert torch.equal(vectors, before[0])
    assert torch.equal(patients, before[1])
    assert not torch.equal(queue.embeddings, vectors)


def test_state_dict_holds_all_and_half_precision_is_stored_whole() -> None:
    one, other = Queue(5, 4), Queue(5, 4)
    one.push(batches([3])[0][0].bfloat16(), batches([3])[0][1])
    assert one.embeddings.dtype == torch.float32
    other.load_state_dict(one.state_dict())
    for queue in (one, other):
        queue.push(*batches([4])[0])
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))


def test_refuses_no_room() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Queue(0, 4)
