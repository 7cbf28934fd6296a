"""The door for users: the `distilljob` command, and `import distilljob` for scripts and notebooks.

Importing it costs nothing: each name is looked up where it lives when it is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distilljob.cluster.submission import Submission
    from distilljob.door import Result, load, read, run, submit
    from distilljob.errors import BadInput, JobFailed, MissingPart, NotFound

__all__ = ["BadInput", "JobFailed", "MissingPart", "NotFound", "Result", "Submission", "load", "read", "run", "submit"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from distilljob import door, errors

        return getattr(errors if hasattr(errors, name) else door, name)

    def __dir__() -> list[str]:
        return list(__all__)
