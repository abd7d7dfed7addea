"""Nobody is taken for lost before he has had time to say that he is alive."""

from __future__ import annotations

from models_store.settings import Settings
from worker.patience import Patience

SETTINGS = Settings(_env_file=None, lease_seconds=60, heartbeat_seconds=10, sweep_seconds=15)


class Clocks:
    """A clock that stands still while the machine is suspended, and one that does not."""

    def __init__(self) -> None:
        self.running = self.wall = 1000.0

    def pass_by(self, seconds: float, *, suspended: bool = False) -> None:
        self.wall += seconds
        self.running += 0.0 if suspended else seconds


def patience_with(clocks: Clocks) -> Patience:
    return Patience(SETTINGS, (lambda: clocks.running, lambda: clocks.wall))


def test_sweeps_at_their_usual_interval_tell_who_is_lost() -> None:
    clocks = Clocks()
    patience = patience_with(clocks)

    told = []
    for _ in range(3):
        told.append(patience.reached())
        clocks.pass_by(16)

    assert told == [True, True, True]


def test_after_a_gap_the_living_have_the_time_of_two_heartbeats() -> None:
    for suspended in (False, True):
        clocks = Clocks()
        patience = patience_with(clocks)
        patience.reached()
        clocks.pass_by(70, suspended=suspended)

        assert not patience.reached()
        clocks.pass_by(15)
        assert not patience.reached()
        clocks.pass_by(6)
        assert patience.reached()
