"""Both versions of Helm."""

import pytest

from helms import Helm, helm
from rig.build import RigError, binaries


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing before any test's clock runs."""
    needed = any(
        set(getattr(item, "fixturenames", ())) & {"helm_of_users", "helm_3", "helm_4"} for item in session.items
    )
    if needed and not session.config.option.collectonly:
        try:
            binaries()
        except RigError as error:
            pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session", params=[3, 4], ids=["helm3", "helm4"])
def helm_of_users(request: pytest.FixtureRequest) -> Helm:
    """Give Helm 3, then Helm 4."""
    return helm(request.param)


@pytest.fixture(scope="session")
def helm_3() -> Helm:
    """Give Helm 3 alone."""
    return helm(3)


@pytest.fixture(scope="session")
def helm_4() -> Helm:
    """Give Helm 4 alone, where the version does not matter."""
    return helm(4)
