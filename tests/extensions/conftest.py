"""Runtimes and contexts to lend from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.lending import Lender

from stepflow_python.extensions import ExtensionContext, Module


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose environments all tests share."""
    return tmp_path_factory.mktemp("lending")


@pytest.fixture
def lender(home: Path) -> Lender:
    """The runtime with default settings."""
    return Lender(home=home)


@pytest.fixture
def lent() -> Callable[..., ExtensionContext]:
    """Makes a context of modules by their names; a sequence of functions is a module of them."""

    def make(**modules: Any) -> ExtensionContext:
        context = ExtensionContext()
        for name, given in modules.items():
            module = given if isinstance(given, Module) else Module(functions=given)
            context.register_extension(name, lambda module=module: module)
        return context

    return make
