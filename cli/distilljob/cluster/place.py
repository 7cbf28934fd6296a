"""Where in which cluster, as it is said on a command line; light to import."""

import shlex
from dataclasses import dataclass

from distilljob.program import program_name


@dataclass(frozen=True, slots=True)
class Place:
    """None = as the kubeconfig has it."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @property
    def is_named(self) -> bool:
        """Whether anything of it was said."""
        return self != Place()

    def command(self, verb: str, *words: str) -> str:
        """Write a command that works at the same place."""
        said = (("-n", self.namespace), ("--context", self.context), ("--kubeconfig", self.kubeconfig))
        options = [word for option, value in said if value is not None for word in (option, value)]
        return f"{program_name()} {shlex.join([verb, *words, *options])}"
