"""Modules that the host lends to tools: what an extension is made of, and where it is registered.

An extension package needs nothing of ours but these names.
"""

from stepflow_python.extensions.context import ExtensionContext
from stepflow_python.extensions.description import Function, Module
from stepflow_python.extensions.lending import Lending

__all__ = ["ExtensionContext", "Function", "Lending", "Module"]
