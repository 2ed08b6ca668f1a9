"""Several processes: what the environment says of them, and that two do what one does with the whole batch."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed as dist

from hilum.bundle.initialization import new_backbone, seeded
from hilum.errors import OptionError
from hilum.listener import SILENT
from hilum.methods import METHODS, load_method
from hilum.nn.collectives import (
    any_process,
    broadcast_from_first,
    gather,
    mean_over_processes,
    own_rows,
    process_count,
)
from hilum.training.distributed import RankInfo, rank_info, slurm_meeting, team_for, threads_each
from hilum.training.launcher import LocalRanks
from hilum.training.learner import Batch, Learner

SIZE, FILMS, STEPS = 32, 16, 3
NO_NORM = "test_efficientnet_gn"
PROCESSES = 2
QUIET = {**os.environ, "TORCH_CPP_LOG_LEVEL": "ERROR"}

Steps = list[tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, torch.Tensor]]]
"""Each step's loss, gradients and state afterwards."""


def method_options(name: str) -> object:
    """Heads without norms, nothing shuffled, and stores small enough to go round within three steps."""
    options = load_method(name).Options
    small = {
        "batch_norm": False,
        "key_splits": 1,
        "queue_size": 24,
        "prototypes": 12,
        "queue_from_epoch": 0,
    }
    known = {field.name for field in fields(options)}
    return options(**{key: value for key, value in small.items() if key in known})


def learner(name: str) -> Learner:
    with seeded(0):
        return load_method(name)(new_backbone(NO_NORM, SIZE, 0), method_options(name), SIZE)


def batch(of: Learner, step: int, rank: int = 0, processes: int = 1) -> Batch:
    rng = np.random.default_rng(step)
    images = torch.from_numpy(rng.integers(0, 256, (FILMS, 1, SIZE, SIZE), dtype=np.uint8))
    index = torch.arange(FILMS) + step * FILMS
    everything = Batch(images, index, index // 2, index // 2, epoch=step)
    everything = everything._replace(crops=of.make_crops(everything, seed=0))
    share = slice(rank * FILMS // processes, (rank + 1) * FILMS // processes)
    assert everything.crops is not None
    return Batch(
        *(part[share] for part in everything[:4]),
        crops=tuple(c[share] for c in everything.crops),
        epoch=step,
    )


def train(of: Learner, rank: int = 0, processes: int = 1) -> Steps:
    of.train()
    module = (
        torch.nn.parallel.DistributedDataParallel(of, find_unused_parameters=True)
        if processes > 1
        else of
    )
    # Not by AdamW, whose first steps turn the last bits of a gradient near 0 into a whole step.
    optimiser, seen = torch.optim.SGD([p for p in of.parameters() if p.requires_grad], lr=0.01), []
    for step in range(STEPS):
        torch.manual_seed(step)
        loss = module(batch(of, step, rank, processes))
        loss.backward()
        gradients = {n: p.grad.clone() for n, p in of.named_parameters() if p.grad is not None}
        optimiser.step()
        optimiser.zero_grad()
        of.after_step(progress=step / STEPS)
        state = {n: value.clone() for n, value in of.state_dict().items()}
        seen.append((mean_over_processes(loss.detach()), gradients, state))
    return seen


def told(rank: int) -> dict[str, object]:
    """What the small collectives give in process ``rank``."""
    return {
        "any": [any_process(rank == 1), any_process(False)],
        "first": broadcast_from_first([0.1 + rank, math.nan]),
        "mean": float(mean_over_processes(torch.tensor(float(rank)))),
        "bad": float(mean_over_processes(torch.tensor(math.inf if rank else 1.0))),
        "gathered": gather(torch.tensor([rank, rank + 10])).tolist(),
        "own": own_rows(torch.arange(4)).tolist(),
    }


def be_one_of(rank: int, folder: str) -> None:
    """Do everything that the tests look at in one of two processes, and write it down."""
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=PROCESSES)
    found: dict[str, object] = {name: train(learner(name), rank, PROCESSES) for name in METHODS}
    found["told"] = told(rank)
    torch.save(found, Path(folder, f"rank-{rank}.pt"))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-W", "ignore", __file__]
    with_ranks = [
        subprocess.Popen([*command, str(rank), str(folder)], env=QUIET) for rank in range(PROCESSES)
    ]
    assert [process.wait(timeout=300) for process in with_ranks] == [0, 0]
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_do_what_one_does_with_the_whole_batch(
    name: str, two: list[dict[str, Steps]]
) -> None:
    alone = train(learner(name))
    for rank in range(PROCESSES):
        for (loss, gradients, state), (loss2, gradients2, state2) in zip(
            alone, two[rank][name], strict=True
        ):
            torch.testing.assert_close(loss2, loss, atol=1e-5, rtol=1e-5)
            assert gradients2.keys() == gradients.keys()
            for where, gradient in gradients.items():
                torch.testing.assert_close(
                    gradients2[where], gradient, atol=1e-5, rtol=1e-5, msg=where
                )
            for where, value in state.items():
                torch.testing.assert_close(state2[where], value, atol=1e-5, rtol=1e-5, msg=where)
    for one, other in zip(
        two[0][name], two[1][name], strict=True
    ):  # all that moves is the same in both
        assert all(torch.equal(one[2][where], other[2][where]) for where in one[2])


def test_processes_tell_each_other(two: list[dict[str, dict[str, object]]]) -> None:
    for rank, found in enumerate(two):
        assert found["told"]["any"] == [True, False]
        assert found["told"]["first"][0] == 0.1
        assert math.isnan(found["told"]["first"][1])
        assert found["told"]["mean"] == 0.5
        assert found["told"]["bad"] == math.inf
        assert found["told"]["gathered"] == [0, 10, 1, 11]
        assert found["told"]["own"] == [2 * rank, 2 * rank + 1]


def test_alone_nothing_is_shared() -> None:
    assert process_count() == 1
    assert any_process(True)
    assert not any_process(False)
    assert broadcast_from_first([1, 2.5]) == [1, 2.5]
    assert float(mean_over_processes(torch.tensor(3.0))) == 3.0


@pytest.mark.parametrize(
    ("environment", "ranks"),
    [
        ({}, RankInfo()),
        ({"RANK": "0", "WORLD_SIZE": "1"}, RankInfo()),
        (
            {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"},
            RankInfo(5, 8, 1, 4),
        ),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, RankInfo()),  # a batch script without srun
        (
            {
                "SLURM_PROCID": "6",
                "SLURM_STEP_NUM_TASKS": "7",
                "SLURM_LOCALID": "2",
                "SLURM_STEP_TASKS_PER_NODE": "4,3",
            },
            RankInfo(6, 7, 2, 4),
        ),
        (
            {
                "SLURM_PROCID": "1",
                "SLURM_STEP_NUM_TASKS": "8",
                "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
            },
            RankInfo(1, 8, 1, 4),
        ),
        # torchrun inside srun: torchrun's word counts
        (
            {"RANK": "1", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
            RankInfo(1, 2, 1, 2),
        ),
    ],
)
def test_the_environment_says_where_a_process_stands(
    environment: dict[str, str], ranks: RankInfo
) -> None:
    assert rank_info(environment) == ranks


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK in the environment is 'x'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2 and WORLD_SIZE is 2"),
    ],
)
def test_an_environment_that_makes_no_sense_is_one_line(
    environment: dict[str, str], line: str
) -> None:
    with pytest.raises(OptionError, match=line):
        rank_info(environment)


def test_slurm_tasks_meet_on_the_first_machine_of_their_step() -> None:
    assert slurm_meeting({"SLURM_STEP_NODELIST": "n[003,007-009],m1", "SLURM_JOB_ID": "42"}) == {
        "MASTER_ADDR": "n003",
        "MASTER_PORT": "15042",
    }
    assert slurm_meeting({"SLURM_NODELIST": "alpha,beta"})["MASTER_ADDR"] == "alpha"


def test_processes_on_one_machine_share_its_cores() -> None:
    whole = threads_each(RankInfo(), {})
    assert threads_each(RankInfo(0, 2, 0, 2), {}) == max(1, whole // 2)
    assert threads_each(RankInfo(0, 999, 0, 999), {}) == 1


def test_a_team_of_one_starts_nobody(tmp_path: Path) -> None:
    with team_for(("pretrain", "moco"), tmp_path, 1, SILENT) as team:
        team.assemble()
        assert team.first
        assert team.ranks == RankInfo()
    assert not dist.is_initialized()


def test_a_child_that_cannot_start_is_one_line_and_none_is_left() -> None:
    ranks = LocalRanks(["no-such-command"], 3, port=1, environment={"PATH": ""})
    line = ranks.lost(patience=60)
    ranks.end(patience=60)
    assert line is not None
    assert "of 3 ended with status 2 (" in line
    assert "no-such-command" in line
    assert "\n" not in line


FIRST = """
import os, sys, time
from hilum.listener import Listener
from hilum.training.launcher import LocalRanks
class Printing(Listener):
    def note(self, line):
        print(line, flush=True)
ranks = LocalRanks(sys.argv[1:], 2, 1, dict(os.environ))
while ranks.lost(patience=60) is None:
    pass
ranks.exit_when_lost(Printing(), grace=0.0)
time.sleep(1)
ranks.end(patience=0.0)
"""


@pytest.mark.parametrize(("words", "status"), [(["--version"], 0), (["no-such-command"], 1)])
def test_a_lost_child_ends_the_first_process_and_one_that_did_its_part_does_not(
    words: list[str], status: int
) -> None:
    first = subprocess.run(
        [sys.executable, "-c", FIRST, *words],
        env=QUIET,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert first.returncode == status, first.stderr
    assert first.stdout.count("this process waited for it and ends") == status


if __name__ == "__main__":
    be_one_of(int(sys.argv[1]), sys.argv[2])
