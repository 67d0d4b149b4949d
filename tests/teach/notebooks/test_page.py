"""The HTML page of a notebook: equations without scripts, nothing from another server."""

import re

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from vlcourse.teach.notebooks import page

TEXT = r"""[![Open in Colab](https://example.org/badge.svg)](https://example.org/colab)

Inline $e^{t}\, I_e$, and displayed:

$$L = \frac{1}{2}\sum_i
x_i$$

Code `cost = "$5"` and `$HOME`; it costs $5 and $6.

```
a = "$x$"
```
"""


def rendered(text: str) -> str:
    nb = new_notebook(cells=[new_markdown_cell(text), new_code_cell("1")])
    return page.html(nb, "title")


def test_equations_are_mathml_and_code_is_left_alone() -> None:
    out = rendered(TEXT)
    assert out.count("<math") == 2 and 'display="block"' in out
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>" in out
    assert "$HOME" in out and "costs $5 and $6" in out and "$x$" in out


def test_folded_answers_stay_folded() -> None:
    out = rendered("<details><summary>Answer</summary>\n\nBecause $x$.\n\n</details>")
    folded = out.split("<details>")[1].split("</details>")[0]
    assert "Answer" in folded and "Because" in folded


def test_more_is_folded_with_its_cells_and_nothing_else_is() -> None:
    texts = ("# T\n\n## One", "## More · A\n\naside", "more aside", "## More · B", "## Two")
    cells = [cell for text in texts for cell in (new_markdown_cell(text), new_code_cell("7"))]
    out = page.html(new_notebook(cells=cells), "title")
    folds = re.findall(r"<details.*?</details>", out, re.DOTALL)
    assert len(folds) == 2 and out.count("<details") == out.count("</details>") == 2
    assert "More · A" in re.search(r"<summary>.*?</summary>", folds[0], re.DOTALL)[0]  # type: ignore[index]
    assert "aside" in folds[0] and "more aside" in folds[0] and folds[0].count("jp-CodeCell") == 2
    assert "More · B" in folds[1] and folds[1].count("jp-CodeCell") == 1
    left = re.sub(r"<details.*?</details>", "", out, flags=re.DOTALL)
    assert "One" in left and "Two" in left and left.count("jp-Cell jp-CodeCell") == 2


def test_the_page_asks_no_server() -> None:
    out = rendered(TEXT)
    assert "<script" not in out and "badge.svg" not in out
    assert "Open in Colab" in out and 'href="https://example.org/colab"' in out  # a link to follow


def test_tex_that_cannot_be_converted_stays_readable() -> None:
    assert "x^1^2" in rendered("broken $x^1^2$ here")


def test_the_notebook_itself_is_not_changed() -> None:
    nb = new_notebook(cells=[new_markdown_cell(TEXT)])
    page.html(nb, "title")
    assert nb.cells[0].source == TEXT
