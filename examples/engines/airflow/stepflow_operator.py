"""An Airflow operator that runs a Python tool on a worker, in a box of its own, and waits for it.

Put it and `stepflow_celery.py` where your DAGs find modules (the folder `plugins`). It needs `celery` and nothing of
stepflow-python. The broker is an Airflow connection, `stepflow_broker` unless told otherwise.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `stepflow_celery.py` is; in your project, a copy
from stepflow_celery import NoAnswerError, ToolError, call, cancel, make_app, tool


class StepflowOperator(BaseOperator):
    """Call a function of a tool; what it returns is the task's result (XCom).

    A tool that fails, or a call that is refused, fails the task for good: trying again would give the same. Where no
    result came in time the task fails too, and Airflow's `retries` hold.

    Args:
        code: the tool's source.
        function: the name of the function.
        parameters: its arguments, as JSON.
        timeout_s: how long to wait, in seconds, queueing included.
        broker_conn_id: the Airflow connection of the broker.
        replies: the result backend that workers have.
    """

    template_fields: Sequence[str] = ("parameters",)

    def __init__(
        self,
        *,
        code: str,
        function: str,
        parameters: dict[str, Any] | None = None,
        timeout_s: float = 300,
        broker_conn_id: str = "stepflow_broker",
        replies: str = "rpc://",
        **kwargs: Any,  # noqa: ANN401 - the base's own
    ) -> None:
        super().__init__(**kwargs)
        self.code = code
        self.function = function
        self.parameters = parameters or {}
        self.timeout_s = timeout_s
        self.broker_conn_id = broker_conn_id
        self.replies = replies
        self._execution_id: str | None = None

    def execute(self, context: Any) -> Any:  # noqa: ANN401 - Airflow's context; JSON
        """Call the tool and wait.

        Raises:
            AirflowFailException: it did not succeed.
            AirflowException: it has not ended in time.
        """
        run = context["ti"]
        # One id a try: what was stopped because nobody waited any longer is not to be its retry's result.
        self._execution_id = f"airflow-{run.id}-{run.try_number}"
        self.log.info("execution %s", self._execution_id)
        with self._app() as app:
            step = tool(app, self.code, self.function, execution_id=self._execution_id, **self.parameters)
            try:
                return call(app, step, timeout_s=self.timeout_s)
            except ToolError as error:
                raise AirflowFailException(str(error)) from error
            except NoAnswerError as error:
                raise AirflowException(str(error)) from error

    def on_kill(self) -> None:
        """Stop the tool when the task is stopped."""
        if self._execution_id is not None:
            with self._app() as app:
                cancel(app, self._execution_id)

    def _app(self) -> Any:  # noqa: ANN401 - Celery has no types
        return make_app(BaseHook.get_connection(self.broker_conn_id).get_uri(), self.replies)
