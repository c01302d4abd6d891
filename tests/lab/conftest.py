import pytest

from zerosearch.lab.world import World, make_worlds


@pytest.fixture(scope="session")
def worlds() -> tuple[World, World]:
    """The training world and the test world of seed 0."""
    return make_worlds(seed=0)
