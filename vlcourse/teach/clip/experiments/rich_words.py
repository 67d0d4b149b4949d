"""The words of `rich`: other names for what the toy world shows, and talk that no picture shows."""

from __future__ import annotations

# A name is drawn as it is, or replaced by one of these.
OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "red": ("scarlet", "crimson", "vermilion", "ruby", "cherry", "tomato"),
    "orange": ("amber", "tangerine", "apricot", "pumpkin", "carrot", "rusty"),
    "yellow": ("golden", "lemon", "canary", "mustard", "sunny", "straw"),
    "green": ("emerald", "jade", "olive", "grassy", "mossy", "leafy"),
    "cyan": ("turquoise", "aqua", "azure", "celeste", "icy", "sky"),
    "blue": ("navy", "cobalt", "sapphire", "indigo", "royal", "marine"),
    "pink": ("rose", "salmon", "fuchsia", "blush", "candy", "magenta"),
    "white": ("snowy", "ivory", "pale", "chalky", "milky", "bleached"),
    "circle": ("disc", "dot", "ball", "coin", "button", "orb"),
    "square": ("box", "block", "tile", "cube", "quad", "plate"),
    "triangle": ("wedge", "delta", "pyramid", "arrowhead", "gable", "slice"),
    "star": ("pentagram", "asterisk", "starlet", "sparkle", "badge", "twinkle"),
    "cross": ("plus", "crossing", "crucifix", "x", "crosshair", "medic"),
    "ring": ("hoop", "loop", "donut", "annulus", "band", "bagel"),
    "small": ("little", "tiny", "mini", "modest", "petite", "compact"),
    "large": ("big", "huge", "giant", "grand", "massive", "jumbo"),
    "above": ("over", "atop", "topping"),
    "below": ("under", "beneath", "underneath"),
    "bigger": ("wider", "broader", "heftier"),
    "dark": ("dim", "gloomy", "shaded", "dusky"),
    "picture": ("photo", "shot", "snap", "pic", "photograph", "snapshot"),
    "image": ("scan", "still", "frame", "print", "jpeg", "thumbnail"),
    "objects": ("things", "items", "pieces", "bits"),
    "object": ("thing", "item", "piece", "bit"),
}

# {n} a name, {p} a place, {m} a month, {d} a number, {a} and {b} adjectives, {s} a subject, {g}
# a thing to buy.
BEFORE: tuple[str, ...] = (
    "{n} sent me this",
    "best of {m} {d}",
    "my {a} {s}",
    "new in the shop , {g} and more",
    "{a} and {b}",
    "photographed in {p} by {n}",
    "{p} , {m}",
    "for {n} with love",
    "number {d} of my {s} series",
    "click here for {g}",
    "from the {s} archive",
    "not sure what {n} wanted but",
)
AFTER: tuple[str, ...] = (
    "on a {a} day in {p}",
    "taken by {n} in {m} {d}",
    "so {a} !",
    "free shipping to {p}",
    "{g} sold separately",
    "see our {s} blog",
    "what a {a} {s}",
    "thanks to {n} and {n}",
    "it was {a} and {b} in {m}",
    "file {d} {d}",
    "made me feel {a}",
    "more {s} on page {d}",
    "copyright {n} {d}",
    "ideal with {g}",
    "stock {s} {d}",
    "we were {a} after the {s}",
)
FILLERS: dict[str, tuple[str, ...]] = {
    "n": tuple(
        """anna ben carla david elena felix greta hugo irina jonas karin leo maria nils olga paul
        quentin rita samir tania ursula victor wanda xavier yasmin zoe amir bella chen dora emil
        fatima george hana igor julia kofi lena mina noah oscar petra ravi sofia tomas uma vera
        walter yuki zane""".split()
    ),
    "p": tuple(
        """paris london tokyo cairo lima oslo rome berlin madrid vienna prague dublin athens
        lisbon warsaw zurich geneva milan naples venice boston chicago denver houston seattle
        toronto sydney perth delhi mumbai beijing seoul hanoi manila nairobi lagos accra dakar
        tunis havana bogota quito santiago montevideo reykjavik helsinki stockholm riga""".split()
    ),
    "m": tuple(
        """january february march april may june july august september october november
        december spring summer autumn winter easter christmas""".split()
    ),
    "d": tuple(str(number) for number in range(100, 1000)),
    "s": tuple(
        """holiday garden kitchen wedding travel sport music school office beach forest village
        winter family birthday market museum theatre bridge harbour factory hospital library
        station airport concert festival parade picnic lecture seminar design craft pottery
        painting poster logo wallpaper icon sticker pattern texture collage sketch drawing
        diagram sign flag map puzzle""".split()
    ),
    "g": tuple(
        """lamps chairs tables curtains carpets mugs plates bowls spoons knives shirts trousers
        jackets gloves scarves hats boots sandals bags wallets watches necklaces bracelets
        earrings toys puzzles dolls kites balls bikes skates tents ropes maps books pens pencils
        notebooks calendars candles soaps towels pillows blankets frames mirrors vases
        clocks""".split()
    ),
}
_MOODS = tuple(
    """happy sad lovely strange quiet noisy rainy sunny cloudy windy foggy stormy freezing warm
    humid dry calm busy lazy crazy gentle wild clever silly funny serious boring exciting tired
    proud shy brave lucky hungry cosy messy tidy fancy simple plain rare common famous secret
    ancient modern local foreign cheap costly early late quick slow fresh stale sweet sour bitter
    salty smooth rough soft hard light heavy bright mellow charming awful perfect terrible great
    decent average splendid gorgeous ugly pretty handsome elegant clumsy""".split()
)
FILLERS["a"] = FILLERS["b"] = _MOODS
