"""The trained run that the tests of the scripts use, for the commands that look at runs, and queries."""

from tests.feedback.conftest import make_query, make_segment
from tests.scripts.conftest import copied, finished, trainer

__all__ = ["copied", "finished", "make_query", "make_segment", "trainer"]
