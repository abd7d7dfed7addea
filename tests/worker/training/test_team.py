"""The team: how a batch is shared out. What several processes do with it is tested in `tests.worker.test_launch`."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from worker.training.team import Team


@given(rows=st.integers(0, 40), size=st.integers(1, 8))
def test_every_example_is_somebodys_and_nobody_has_many_more_than_another(rows: int, size: int) -> None:
    parts = [Team(rank, size).part_of(list(range(rows))) for rank in range(size)]

    assert sorted(index for part in parts for index in part) == list(range(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_alone_has_everything_to_itself() -> None:
    team, gradient = Team(), torch.ones(3)
    state = torch.get_rng_state()

    team.add_up([gradient])
    team.part_ways()
    team.disband()

    assert team.is_main
    assert team.part_of([3, 1, 2]) == [3, 1, 2]
    assert team.share("a") == "a"
    assert torch.equal(gradient, torch.ones(3))
    assert torch.equal(torch.get_rng_state(), state)


def test_each_process_draws_its_own_numbers() -> None:
    drawn = []
    for rank in range(3):
        torch.manual_seed(7)
        Team(rank, 3).part_ways()
        drawn.append(float(torch.rand(())))
    torch.manual_seed(7)

    assert drawn[0] == float(torch.rand(()))
    assert len(set(drawn)) == 3
