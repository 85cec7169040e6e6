from __future__ import annotations

import base64
import io
from urllib.parse import unquote

import pytest
from PIL import Image

from backbench.report.figures.figure import Figure
from backbench.report.html.drawings import data_uri, drawings_of, size_of


def figure(name: str, image: bytes, media_type: str = "image/svg+xml") -> Figure:
    return Figure(name, name, "", image, media_type, name, ("a", "b"), (("x", "1"),))  # type: ignore[arg-type]


def svg(text: str) -> bytes:
    return (
        f'<svg viewBox="0 0 72 36"><text fill="#000">{text} 100 % &amp; "é"</text></svg>'.encode()
    )


def test_a_figure_of_several_cells_is_in_the_page_once() -> None:
    one, other = figure("one", svg("one")), figure("other", svg("other"))
    again = figure("again", svg("one"))
    (first, second), shared = drawings_of([[one, other], [again]])
    assert [bool(drawing.symbol) for drawing in (*first, *second)] == [True, False, True]
    assert [drawing.figure.title for drawing in (*first, *second)] == ["one", "other", "again"]
    (kept,) = shared
    assert kept.symbol == first[0].symbol == second[0].symbol
    assert kept.address == data_uri(one)


def test_an_svg_file_is_text_that_an_attribute_can_hold() -> None:
    kind, _, content = data_uri(figure("a", svg("a"))).partition(",")
    assert kind == "data:image/svg+xml"
    assert unquote(content).encode() == svg("a")
    assert not set('"<>#&') & set(content)


@pytest.mark.parametrize(("dpi", "size"), [(None, (30, 20)), (192, (15, 10))])
def test_the_size_of_a_file_is_what_it_states(dpi: int | None, size: tuple[int, int]) -> None:
    out = io.BytesIO()
    Image.new("RGB", (30, 20)).save(out, "PNG", **({"dpi": (dpi, dpi)} if dpi else {}))
    png = figure("a", out.getvalue(), "image/png")
    assert size_of(png) == pytest.approx(size, abs=0.1)
    assert size_of(figure("a", svg("a"))) == (96, 48)
    assert base64.b64decode(data_uri(png).partition(",")[2]) == png.image
