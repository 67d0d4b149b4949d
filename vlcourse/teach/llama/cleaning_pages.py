"""A toy web to be cleaned: pages dirtied on purpose, with the truth about each line.

The sentences of five languages were written for the course.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["clean", "other topic", "boilerplate", "other language", "scrambled"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Line:
    """A line of a page, and what it is in truth."""

    text: str
    kind: Kind

    @property
    def worth_keeping(self) -> bool:
        """Good English text, about shapes or about anything else."""
        return self.kind in ("clean", "other topic")


@dataclass(frozen=True)
class Page:
    """A web page as lines of text."""

    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """The lines, one under the other."""
        return "\n".join(line.text for line in self.lines)


# To learn the languages from. Nothing of it occurs on the pages.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "English": (
        "the weather was cold this morning and nobody wanted to go out",
        "can you tell me where the nearest library is",
        "we have lived in this house for more than ten years",
        "she wrote a long letter to her brother in the city",
        "most of the small shops are closed on sunday",
        "there is nothing better than fresh bread with butter",
        "the children played on the beach until it was dark",
        "which of these two books would you rather read",
        "a large white bird sat above the door and looked down",
        "he left the blue bag to the right of the table",
        "what is the name of that yellow flower with three leaves",
        "they found some old coins below the floor of the kitchen",
    ),
    "German": (
        "das wetter war heute morgen kalt und niemand wollte hinausgehen",
        "können sie mir sagen wo die nächste bibliothek ist",
        "wir wohnen seit mehr als zehn jahren in diesem haus",
        "sie schrieb ihrem bruder in der stadt einen langen brief",
        "die meisten kleinen läden sind am sonntag geschlossen",
        "es gibt nichts besseres als frisches brot mit butter",
        "die kinder spielten am strand bis es dunkel wurde",
        "welches von diesen beiden büchern würdest du lieber lesen",
        "ein großer weißer vogel saß über der tür und schaute herab",
        "er ließ die blaue tasche rechts neben dem tisch stehen",
    ),
    "French": (
        "il faisait froid ce matin et personne ne voulait sortir",
        "pouvez vous me dire où se trouve la bibliothèque la plus proche",
        "nous habitons dans cette maison depuis plus de dix ans",
        "elle a écrit une longue lettre à son frère en ville",
        "la plupart des petits magasins sont fermés le dimanche",
        "il n'y a rien de meilleur que du pain frais avec du beurre",
        "les enfants ont joué sur la plage jusqu'à la nuit",
        "lequel de ces deux livres préfères tu lire",
        "un grand oiseau blanc était assis au dessus de la porte",
        "il a laissé le sac bleu à droite de la table",
    ),
    "Spanish": (
        "hacía frío esta mañana y nadie quería salir",
        "puede decirme dónde está la biblioteca más cercana",
        "vivimos en esta casa desde hace más de diez años",
        "ella escribió una larga carta a su hermano en la ciudad",
        "la mayoría de las tiendas pequeñas cierran el domingo",
        "no hay nada mejor que el pan fresco con mantequilla",
        "los niños jugaron en la playa hasta que oscureció",
        "cuál de estos dos libros prefieres leer",
        "un gran pájaro blanco estaba sentado encima de la puerta",
        "dejó la bolsa azul a la derecha de la mesa",
    ),
    "Chinese": (
        "今天早上天气很冷没有人想出门",
        "请问最近的图书馆在哪里",
        "我们在这座房子里住了十多年",
        "她给城里的哥哥写了一封很长的信",
        "大多数小商店星期天都关门",
        "没有什么比新鲜的面包更好吃",
        "孩子们在海边一直玩到天黑",
        "这两本书你更想看哪一本",
        "一只白色的大鸟站在门的上方",
        "他把蓝色的包放在桌子的右边",
    ),
}

# Who, does what, where: each with each makes a sentence, 216 a language.
_SENTENCES: dict[str, tuple[str, str, str]] = {
    "English": (
        "my old neighbour|the young teacher|a friend of ours|her little sister"
        "|the man from the bank|one of the farmers",
        "waits for an answer|reads the newspaper|drinks a cup of tea|talks about the weather"
        "|repairs his bicycle|sings an old song",
        "in the garden|at the station|near the river|on a quiet afternoon|before lunch"
        "|during the holidays",
    ),
    "German": (
        "mein alter nachbar|die junge lehrerin|ein freund von uns|ihre kleine schwester"
        "|der mann von der bank|einer der bauern",
        "wartet auf eine antwort|liest die zeitung|trinkt eine tasse tee|spricht über das wetter"
        "|repariert ein fahrrad|singt ein altes lied",
        "im garten|am bahnhof|in der nähe des flusses|an einem ruhigen nachmittag|vor dem essen"
        "|während der ferien",
    ),
    "French": (
        "mon vieux voisin|la jeune maîtresse|un ami à nous|sa petite sœur|l'homme de la banque"
        "|un des paysans",
        "attend une réponse|lit le journal|boit une tasse de thé|parle du temps qu'il fait"
        "|répare un vélo|chante une vieille chanson",
        "dans le jardin|à la gare|près de la rivière|pendant un après midi calme|avant le repas"
        "|pendant les vacances",
    ),
    "Spanish": (
        "mi viejo vecino|la joven maestra|un amigo nuestro|su hermana pequeña|el hombre del banco"
        "|uno de los campesinos",
        "espera una respuesta|lee el periódico|bebe una taza de té|habla del tiempo"
        "|arregla una bicicleta|canta una vieja canción",
        "en el jardín|en la estación|cerca del río|en una tarde tranquila|antes de comer"
        "|durante las vacaciones",
    ),
    "Chinese": (
        "我的老邻居|那位年轻的老师|我们的一个朋友|她的妹妹|银行的那个人|其中一个农民",
        "正在等回信|正在看报纸|正在喝茶|正在谈论天气|正在修自行车|正在唱一首老歌",
        "就在花园里|就在车站|就在河边|在一个安静的下午|在午饭之前|在假期里",
    ),
}

_BOILERPLATE = (
    "Home | About | Contact | Log in",
    "We use cookies to improve your experience. Accept all?",
    "Share this page with your friends!",
    "Sign up for our newsletter and never miss an offer.",
    "Copyright {} by the owner. All rights reserved.",
    "You are visitor number {}.",
    "Page {} of {}",
    "Posted on {}/{} by admin",
    "Loading, please wait ...",
    "Please enable JavaScript to see the comments.",
)


def sentences_in(language: str) -> list[str]:
    """The 216 sentences that pages in this language are made of."""
    who, what, where = (part.split("|") for part in _SENTENCES[language])
    gap = "" if language == "Chinese" else " "
    return [gap.join((a, b, c)) for a in who for b in what for c in where]


def toy_web(sentences: Iterable[str], pages: int, seed: int = 0) -> list[Page]:
    """Dirty pages made of good sentences.

    Of 20 pages 10 are clean text, 1 is good English about something else, 5 are in another language
    and 4 are clean text with its words scrambled. Each has three to five lines of text, and one to
    three of boilerplate among them.

    Args:
        sentences: clean text to draw from, a line each; a sentence is used once.
        pages: how many.
        seed: of everything that is drawn.

    Raises:
        ValueError: when the sentences do not suffice.
    """
    rng = random.Random(seed)
    supply = iter(sentences)
    foreign = {name: _endless(sentences_in(name), rng) for name in _SENTENCES}
    others = [name for name in _SENTENCES if name != "English"]
    shares: tuple[tuple[Kind, int], ...] = (
        ("clean", 10), ("other topic", 1), ("other language", 5), ("scrambled", 4),
    )  # fmt: skip
    web = []
    for number in range(pages):
        kind = rng.choices([k for k, _ in shares], [n for _, n in shares])[0]
        language = rng.choice(others) if kind == "other language" else "English"
        texts = []
        for _ in range(rng.randint(3, 5)):
            if kind in ("clean", "scrambled"):
                if (text := next(supply, None)) is None:
                    raise ValueError(f"the clean sentences ended at page {number + 1} of {pages}")
                words = text.split()
                if kind == "scrambled":
                    rng.shuffle(words)
                texts.append(" ".join(words))
            else:
                texts.append(next(foreign[language]))
        lines = [Line(text, kind) for text in texts]
        for place in rng.choices((0, len(lines)), k=rng.randint(1, 3)):  # at the top or the end
            lines.insert(place, Line(_boilerplate(rng), "boilerplate"))
        web.append(Page(tuple(lines)))
    return web


def _endless(sentences: list[str], rng: random.Random) -> Iterator[str]:
    """The sentences in a random order, again and again."""
    while True:
        yield from rng.sample(sentences, len(sentences))


def _boilerplate(rng: random.Random) -> str:
    text = rng.choice(_BOILERPLATE)
    return text.format(*(rng.randint(1, 2999) for _ in range(text.count("{}"))))
