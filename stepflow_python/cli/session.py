"""What every command starts with: settings, logging, and whether to show our own tracebacks."""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass

import click

from stepflow_python.config import Settings, environ
from stepflow_python.logs import set_up

DEBUG_KEY = "stepflow.debug"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One call of the command line; `environ` are the caller's variables."""

    settings: Settings
    environ: Mapping[str, str]


def open_session() -> Session:
    """Read the settings and set up logging to stderr.

    Raises:
        ConfigurationError: a setting is unknown or malformed.
    """
    variables = environ()
    settings = Settings.from_environ(variables)
    if settings.log_level == "DEBUG":
        show_tracebacks()
    set_up(settings.log_level, settings.log_format, secrets=settings.passwords)
    return Session(settings=settings, environ=variables)


def trace() -> None:
    """Show where the exception that is being handled came from, if the caller debugs."""
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(DEBUG_KEY):
        traceback.print_exc()


def show_tracebacks() -> None:
    """Remember, for this call, that a fault of ours is shown whole."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[DEBUG_KEY] = True
