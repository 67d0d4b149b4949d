"""A notebook as one HTML file that asks the network for nothing: pictures, styles, equations."""

from __future__ import annotations

import copy
import re

from latex2mathml.converter import convert
from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode

from vlcourse.teach.notebooks.lecture import MORE

# Code first, so that a dollar sign in it stays one; then displayed and inline equations.
_MATH = re.compile(
    r"(?P<code>```.*?```|`[^`\n]+`)"
    r"|\$\$(?P<display>.+?)\$\$"
    r"|(?<![\\$\w])\$(?![\s$])(?P<inline>[^$\n]+?)(?<![\s\\])\$",
    re.DOTALL,
)
_REMOTE_PICTURE = re.compile(r"!\[([^\]]*)\]\(https?://[^)]*\)")
_CELL = re.compile(r'(?=<div class="jp-Cell jp-(?:Markdown|Code)Cell)')
_HEADING = re.compile(r"<h[12] .*?</h[12]>", re.DOTALL)
_FOLD = '<details style="margin: 1em 4em"><summary>{}</summary>'
_SCRIPT = re.compile(r"<script\b[^>]*>.*?</script>", re.DOTALL)


def html(nb: NotebookNode, title: str) -> str:
    """The page of an executed notebook.

    Equations become MathML, which browsers draw themselves; pictures and styles are inside; a
    picture on another server (the badges) is replaced by its text; scripts are left out. Sections
    under `lecture.MORE` are folded: a click on the heading opens one.
    """
    nb = copy.deepcopy(nb)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = _MATH.sub(_mathml, _REMOTE_PICTURE.sub(r"\1", cell.source))
    page: str = HTMLExporter().from_notebook_node(nb, {"metadata": {"name": title}})[0]
    return _folded(_SCRIPT.sub("", page))


def _folded(page: str) -> str:
    main, tail = page.split("</main>")
    start, *cells = _CELL.split(main)
    out, is_open = [start], False
    for cell in cells:
        if heading := _HEADING.search(cell):
            out.append("</details>" * is_open)
            is_open = MORE.removeprefix("## ") in heading[0]
            if is_open:
                title = heading[0].replace("<h2 ", '<h2 style="display: inline" ')
                out.append(_FOLD.format(title))
                cell = cell.replace(heading[0], "", 1)
        out.append(cell)
    return "".join([*out, "</details>" * is_open, "</main>", tail])


def _mathml(match: re.Match[str]) -> str:
    """An equation as MathML on one line; code, and TeX that cannot be converted, as it was."""
    if match["code"]:
        return match[0]
    try:
        display = match["display"] is not None
        tex = " ".join((match["display"] or match["inline"]).split())
        return convert(tex, display="block" if display else "inline")
    except Exception:  # any malformed TeX: the reader then sees the source
        return f"`{match[0]}`"
