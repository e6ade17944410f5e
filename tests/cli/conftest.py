"""The trained run that the tests of the scripts use, for the commands that look at runs."""

from tests.scripts.conftest import copied, finished, trainer

__all__ = ["copied", "finished", "trainer"]
