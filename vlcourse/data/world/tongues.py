"""What a scene shows in German, Spanish or French: texts that a model of English cannot read."""

from __future__ import annotations

from collections.abc import Sequence

from vlcourse.data.world.dice import Dice
from vlcourse.data.world.words import COLOURS, SHAPES

# Shapes with their gender: masculine, feminine or neuter. Colours by gender, in the same order; one
# that is written once does not change.
_GERMAN = (
    ("m:Kreis", "n:Quadrat", "n:Dreieck", "m:Stern", "n:Kreuz", "m:Ring"),
    ("roter/rote/rotes", "orangefarbener/orangefarbene/orangefarbenes", "gelber/gelbe/gelbes",
     "grüner/grüne/grünes", "türkiser/türkise/türkises", "blauer/blaue/blaues",
     "rosafarbener/rosafarbene/rosafarbenes", "weißer/weiße/weißes"),
    "ein/eine/ein", "{article} {colour} {shape}", " und ",
    ("{}", "zu sehen: {}", "das Bild zeigt: {}"),
)  # fmt: skip
_SPANISH = (
    ("m:círculo", "m:cuadrado", "m:triángulo", "f:estrella", "f:cruz", "m:anillo"),
    ("rojo/roja", "naranja", "amarillo/amarilla", "verde", "cian", "azul", "rosa", "blanco/blanca"),
    "un/una", "{article} {shape} {colour}", " y ",
    ("{}", "una imagen de {}", "aquí se ve {}"),
)  # fmt: skip
_FRENCH = (
    ("m:cercle", "m:carré", "m:triangle", "f:étoile", "f:croix", "m:anneau"),
    ("rouge", "orange", "jaune", "vert/verte", "cyan", "bleu/bleue", "rose", "blanc/blanche"),
    "un/une", "{article} {shape} {colour}", " et ",
    ("{}", "on voit {}", "l'image montre {}"),
)  # fmt: skip
LANGUAGES = (_GERMAN, _SPANISH, _FRENCH)


def in_another_language(pairs: Sequence[tuple[str, str]], key: int) -> str:
    """A list of (colour, shape) pairs in words that are not English.

    Args:
        pairs: what is seen, at least one.
        key: chooses language and wording.
    """
    dice = Dice(key, "web: language")
    shapes, colours, article, order, joint, templates = dice.pick(LANGUAGES)
    said = []
    for colour, shape in pairs:
        gender, _, noun = shapes[SHAPES.index(shape)].partition(":")
        place = "mfn".index(gender)
        words = {"article": article, "colour": colours[COLOURS.index(colour)]}
        words = {name: _form(forms, place) for name, forms in words.items()}
        said.append(order.format(shape=noun, **words))
    return dice.pick(templates, at=16).format(joint.join(said))


def _form(forms: str, place: int) -> str:
    found = forms.split("/")
    return found[place] if len(found) > 1 else found[0]
