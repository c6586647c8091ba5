"""The checkpoints of the tests of models, and one thread as there."""

from tests.models.conftest import checkpoint, one_thread

__all__ = ["checkpoint", "one_thread"]
