"""Fixtures of the control plane's scenarios."""
import pytest

from planes import Site


@pytest.fixture
def folders():
    """Folders without any process yet."""
    site = Site()
    yield site
    site.finish()


@pytest.fixture
def site(folders):
    """A control plane without configuration."""
    folders.start_control_plane()
    return folders
