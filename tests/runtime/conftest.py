"""What the tests of the runtime share."""

import pytest

from kerasvino.runtime import config


@pytest.fixture
def folder(tmp_path):
    """A folder in which compiled programs are kept."""
    with config.using(cache_dir=tmp_path):
        yield tmp_path
