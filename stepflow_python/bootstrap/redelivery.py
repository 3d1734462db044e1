"""What a worker does beside its work: loose ends of the record, tied up through the broker."""

from stepflow_python.config import Settings
from stepflow_python.jobs.reconciling import reconcile_for_ever
from stepflow_python.messages import Loose
from stepflow_python.messaging.app import make_app
from stepflow_python.messaging.dispatch import CeleryDispatcher


async def tie_up_for_ever(settings: Settings, loose: Loose) -> None:
    """See `jobs.reconciling`."""
    await reconcile_for_ever(loose, CeleryDispatcher(make_app(settings), settings))
