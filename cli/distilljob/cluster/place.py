"""Where in which cluster, as it is said on a command line; light to import."""

from dataclasses import dataclass


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

    @property
    def options(self) -> list[str]:
        """The options that lead to the same place."""
        said = (("-n", self.namespace), ("--context", self.context), ("--kubeconfig", self.kubeconfig))
        return [word for option, value in said if value is not None for word in (option, value)]
