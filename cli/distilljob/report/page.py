"""The page: everything that was drawn and counted, laid out by the template."""

import re
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from distilljob.report import configuration, tables, verdicts
from distilljob.report.cast import cast
from distilljob.report.figures.overlay import overlays
from distilljob.report.run import Run
from distilljob.report.sections import sections


def render(runs: Sequence[Run]) -> str:
    """Write the page; the same runs give the same text."""
    roles = cast(runs)
    template = _environment().get_template("page")
    return template.render(
        title=f"distilljob: {runs[0].label}" if len(runs) == 1 else f"distilljob: {len(runs)} runs",
        css=Markup(_resource("page.css")),  # noqa: S704 - our own file
        runs=runs,
        many=len(runs) > 1,
        verdicts=verdicts,
        tables=tables,
        configuration=configuration,
        sections=sections(runs, roles),
        overlays=overlays(runs, roles) if len(runs) > 1 else (),
        version=version("distilljob"),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=DictLoader({"page": _resource("page.html.j2")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": _breakable, "code": _with_code, "glued": glued}
    return environment


def glued(text: str) -> str:
    """Keep numbers on one line with their units."""
    return re.sub(r"(?<=\d) (?=(%|s|min|h|×|nats|points)\b|%)|(?<=×) ", "\u00a0", text)


def _breakable(text: str) -> Markup:
    """Let the path of a field go on in the next line after a dot."""
    return Markup("<wbr>").join(re.split(r"(?<=\.)", text))


def _with_code(text: str) -> Markup:
    """Set what stands between backticks as code."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(p) if at % 2 else escape(p) for at, p in enumerate(parts))


def _resource(name: str) -> str:
    return files("distilljob.report").joinpath(name).read_text(encoding="utf-8")
