"""From a matplotlib figure to SVG that lives inside a page: themed, accessible, small, the same bytes every time."""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from distilljob.report.style import HEIGHT_INCHES, PARAMETERS, VARIABLE_OF, WIDTH_INCHES

Paint = Callable[[Axes], object]

_DEFAULTS: Final = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
_COLOR: Final = re.compile(r"#[0-9a-f]{6}")
_FONT: Final = re.compile(r"font-family:[^;]*;?\s*")
_NUMBER: Final = re.compile(r"-?\d+\.\d+")
_REFERENCE: Final = re.compile(r"url\(#([^)]*)\)")
_NO_TURN: Final = re.compile(r"rotate\(-?0 [^)]*\)")
_HREF: Final = "{http://www.w3.org/1999/xlink}href"


def draw(name: str, description: str, paint: Paint, height_inches: float = HEIGHT_INCHES) -> Markup:
    """Draw one figure.

    Args:
        name: unique on the page; makes the ids inside.
        description: read aloud in place of the picture.
        paint: fills the axes.
        height_inches: at the one width that all figures have.
    """
    parameters: Any = {**_DEFAULTS, **PARAMETERS, "svg.hashsalt": name}
    with matplotlib.rc_context(parameters):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.subplots())
        drawn = io.StringIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the browser has fonts of its own
            figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Markup(_embedded(drawn.getvalue(), name, description))  # noqa: S704 - serialized by ElementTree, which escapes


def _embedded(document: str, name: str, description: str) -> str:
    """Make a document's SVG an element of a page."""
    root = ElementTree.fromstring(document)  # noqa: S314 - written by matplotlib a moment ago
    for parent in root.iter():
        for child in [child for child in parent if child.tag.endswith(("metadata", "style"))]:
            parent.remove(child)
    used = {reference for element in root.iter() for reference in _references(element)}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = dict(_attributes(element, name, used))
    view = root.get("viewBox", "")
    root.attrib = {"viewBox": view, "role": "img", "aria-label": description}
    _drop_empty(root)
    return re.sub(r">\s+<", "><", ElementTree.tostring(root, encoding="unicode"))


def _references(element: ElementTree.Element) -> list[str]:
    return [found for value in element.attrib.values() for found in _REFERENCE.findall(value)] + [
        element.get(_HREF, "").removeprefix("#")
    ]


def _attributes(element: ElementTree.Element, name: str, used: set[str]) -> Iterator[tuple[str, str]]:
    """Translate attributes: ids are the page's, colors its variables, fonts its own, numbers short."""
    for key, value in element.attrib.items():
        if key == "id":
            if value in used:
                yield key, f"{name}-{value}"
        elif key == _HREF:
            yield "href", f"#{name}-{value.removeprefix('#')}"
        elif key == "style" or _COLOR.fullmatch(value):  # a CSS variable means nothing in an attribute
            yield "style", _style(value if key == "style" else f"{key}: {value}", name)
        elif not _NO_TURN.fullmatch(value):
            yield key, " ".join(_short(_REFERENCE.sub(rf"url(#{name}-\1)", value)).split())


def _style(value: str, name: str) -> str:
    themed = _COLOR.sub(lambda found: f"var({VARIABLE_OF[found[0]]})", _FONT.sub("", value))
    return _REFERENCE.sub(rf"url(#{name}-\1)", themed)


def _short(text: str) -> str:
    """Round to a tenth of a point."""
    return _NUMBER.sub(lambda found: f"{round(float(found[0]), 1) + 0.0:.1f}".removesuffix(".0"), text)


def _drop_empty(parent: ElementTree.Element) -> None:
    for child in list(parent):
        _drop_empty(child)
        if child.tag in ("g", "defs") and not len(child):
            parent.remove(child)
