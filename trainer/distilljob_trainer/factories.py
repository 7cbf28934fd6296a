"""Factories of models and datasets: found by name, called with options, blamed by name.

A user's own factory is named `package.module:factory`.
"""

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from distilljob_core.errors import DistillJobError, FactoryError

Factory = Callable[..., object]


def import_factory(kind: str, name: str) -> Factory:
    """Import `package.module:factory`.

    Args:
        kind: what it makes, "model" or "dataset"; only for the text of errors.
        name: the module, a colon, the name of a callable in it.

    Raises:
        FactoryError: the module does not import (the import error is the cause), or holds no such callable.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise FactoryError(
            f"{kind} {name!r}: importing {module_name!r} failed: {_brief(error)}. Looked in: {_search_path()}. "
            "Install the package, or put its folder on PYTHONPATH"
        ) from error
    factory: Factory | None = getattr(module, attribute, None)
    if not callable(factory):
        found = "is not callable" if hasattr(module, attribute) else "does not exist"
        origin = getattr(module, "__file__", None) or module_name
        raise FactoryError(f"{kind} {name!r}: {attribute!r} {found} in {origin}{did_you_mean(attribute, vars(module))}")
    return factory


def call_factory(kind: str, name: str, factory: Factory, /, *args: object, **options: Any) -> object:
    """Call a factory; what it raises, and options it does not take, become a FactoryError that names it.

    An error of our own tree (a DataError for a missing file) passes through unchanged.
    """
    _check_options(kind, name, factory, args, options)
    try:
        return factory(*args, **options)
    except DistillJobError:
        raise
    except Exception as error:
        raise FactoryError(f"{kind} {name!r} with options {options} raised {_brief(error)}") from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Close matches as a question of their own after the sentence they end, else only its full stop."""
    matches = difflib.get_close_matches(name, list(known), n=3)
    return f". Did you mean {' or '.join(matches)}?" if matches else "."


def _check_options(kind: str, name: str, factory: Factory, args: Sequence[object], options: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some callables written in C have none; calling them will tell
        return
    parameters = signature.parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for option in options:
        if option not in parameters and not takes_any:
            raise FactoryError(
                f"{kind} {name!r} takes no option {option!r}{did_you_mean(option, parameters)}"
                f" It takes: {', '.join(parameters)}"
            )
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        raise FactoryError(f"{kind} {name!r} cannot be called with options {dict(options)}: {error}") from error


def _search_path() -> str:
    return ", ".join(entry or os.getcwd() for entry in sys.path)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
