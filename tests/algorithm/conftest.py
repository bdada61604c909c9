"""What several files about the algorithm start from."""

import pytest
import tiny_agent


@pytest.fixture(scope="module")
def eagerly():
    """Runs the agents of a file without graphs: faster where each makes few calls."""
    with tiny_agent.running(eagerly=True):
        yield
