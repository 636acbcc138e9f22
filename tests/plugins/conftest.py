"""A folder for drop-in hooks and programs, loaded into a strict host."""

import pytest

from mta.testing.hooksdir import HooksDir


@pytest.fixture
def hooks():
    with HooksDir() as folder:
        yield folder
