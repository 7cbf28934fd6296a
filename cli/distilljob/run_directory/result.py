"""result.json of a run directory."""

from pydantic import ValidationError

from distilljob.errors import BadInput
from distilljob.run_directory.folder import RunFolder
from distilljob_core.results import RunResult
from distilljob_core.spec.base import Problem


class LocalResult(RunResult):
    """What a finished run measured."""

    verdict: str
    """What the run showed, in words."""


def read_result(folder: RunFolder) -> LocalResult:
    """Read the result of a finished run.

    Raises:
        BadInput: the file is damaged.
        FileNotFoundError: the run has not finished.
    """
    try:
        return LocalResult.model_validate_json(folder.result.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = Problem(
            str(folder.result),
            f"is not what a run wrote: {where + ': ' if where else ''}{first['msg']}",
            "remove it and give the command that made the run again: it writes the file anew",
        )
        raise BadInput("the result cannot be read", [problem]) from None
