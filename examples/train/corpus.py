"""English prose, and other text, that every Python installation holds: nothing here is downloaded or kept.

Prose are the paragraphs of `pydoc_data.topics` and of the docstrings of the standard library's modules, without markup,
examples and signatures. Both are copyright of the Python Software Foundation, under the PSF License, which allows use
and derived works; the Zen of Python (`this`) is in the public domain. Code are lines of the same modules.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
"""What has a token of its own, from 1 on; token 0 is any other character."""

TOKENS = len(ALPHABET) + 1
_CODES = {c: k + 1 for k, c in enumerate(ALPHABET)}
_LEFT_OUT = ("test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__", "pydoc_data")

FOREIGN = {
    "German": (
        "Gestern war ich mit meiner Schwester am Fluss, und obwohl es den ganzen Morgen geregnet hatte, schien am "
        "Nachmittag die Sonne. Wir haben lange am Ufer gesessen und den Booten zugeschaut, die langsam stromabwaerts"
        " fuhren. Auf dem Heimweg haben wir noch Brot und Kaese gekauft, weil der Laden am Samstag frueher "
        "schliesst. Kannst du mir bitte sagen, wann der naechste Zug nach Hause faehrt? Ich habe den Fahrplan leider"
        " verloren. Wenn du am Wochenende Zeit hast, komm doch vorbei; wir wollen den Zaun streichen und koennten "
        "Hilfe gebrauchen. Die Kinder freuen sich schon, denn hinter dem Haus steht jetzt ein alter Wagen, in dem "
        "man wunderbar spielen kann."
    ),
    "French": (
        "Hier nous sommes partis tres tot pour eviter la chaleur, et nous avons marche jusqu'au village avant midi. "
        "La boulangerie etait encore ouverte, alors nous avons achete du pain et quelques gateaux pour les enfants. "
        "Le soir, tout le monde s'est retrouve autour de la grande table, et mon oncle a raconte une vieille "
        "histoire. Est-ce que tu pourrais me dire a quelle heure commence le concert demain? Je ne voudrais pas "
        "arriver en retard. Depuis que nous habitons ici, le jardin demande beaucoup de travail, mais personne ne "
        "s'en plaint vraiment. Quand il pleut, on reste dans la cuisine et on joue aux cartes jusqu'a ce que la nuit"
        " tombe sur la vallee."
    ),
    "Spanish": (
        "Ayer por la tarde fuimos al mercado porque queriamos comprar fruta para la semana. Habia mucha gente y los "
        "precios eran mas altos que otras veces, pero las naranjas estaban muy buenas. Despues tomamos un cafe en la"
        " plaza y hablamos con los vecinos hasta que empezo a llover. Me puedes decir donde esta la parada del "
        "autobus? Tengo que volver a casa antes de las ocho para preparar la cena. El domingo viene mi hermano con "
        "su familia, y quiero que todo este listo. Los ninos van a dormir en el cuarto pequeno, porque alli hace "
        "menos calor durante la noche. Si no llueve, podemos subir a la montana y comer algo junto al rio, como "
        "cuando eramos jovenes."
    ),
}
"""Written for this example; accents are left out, so that letters alone must give the language away."""

CHAT = (
    "Hi there, I wanted to ask whether the meeting tomorrow is still at ten, because I have to take my daughter to "
    "the dentist first. No problem, we can start a little later, nobody else is in a hurry. Thanks, that helps me a "
    "lot. By the way, did you see the new garden behind the library? They planted apple trees along the wall and "
    "there are benches now, so we could have lunch outside when the weather is good. I would like that, it has been "
    "a long winter. Do you know if the shop on the corner still sells those big loaves of bread? My neighbour says "
    "they closed in spring, but I am sure I saw somebody behind the counter last week. Anyway, see you tomorrow, and"
    " bring your umbrella."
)
"""English that is nobody's documentation, written for this example."""


@dataclass(frozen=True)
class Corpus:
    """Paragraphs of prose for training, validation and test, from different modules, and code of those of the test."""

    train: list[str]
    validation: list[str]
    test: list[str]
    code: list[str]


def encode(text: str) -> npt.NDArray[np.float32]:
    """One token a character, float32 (n, 1)."""
    return np.array([_CODES.get(c, 0) for c in text], np.float32)[:, None]


@cache
def corpus(every: int = 1) -> Corpus:
    """The texts of this Python; another version's are slightly others. Sorted by path, so the same each time.

    `every`: one in so many modules, to be quick.
    """
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    code, seen = [], set()
    for name, prose, lines in _sources(every):
        # A hash, so that a module is in the same part whatever others there are.
        k = hashlib.sha256(name.encode()).digest()[0]
        part = "test" if k < 26 else "validation" if k < 52 else "train"
        for paragraph in prose:
            if paragraph not in seen:
                seen.add(paragraph)
                parts[part].append(paragraph)
        if part == "test" and len(lines) >= 300:
            code.append(lines)
    return Corpus(**parts, code=code)


def _sources(every: int) -> list[tuple[str, list[str], str]]:
    """(name, paragraphs of prose, code without docstrings and comments) of each topic and module."""
    from pydoc_data.topics import topics  # noqa: PLC0415

    found = [(f"topic {name}", paragraphs(text), "") for name, text in sorted(topics.items())]
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py"))[::every]:
        name = path.relative_to(root)
        if any(part in _LEFT_OUT for part in name.parts):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(path.read_text("utf-8"))
        except (SyntaxError, ValueError):
            continue
        found.append((name.as_posix(), *_of_module(tree)))
    return found


def _of_module(tree: ast.Module) -> tuple[list[str], str]:
    prose: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                prose += paragraphs(text)
                node.body = node.body[1:] or [ast.Pass()]
    return prose, ast.unparse(tree)


def paragraphs(text: str) -> list[str]:
    """The paragraphs that are sentences, each on one line, without markup."""
    found = []
    for block in re.split(r"\n\s*\n", text):
        line = re.sub(r"[`*]|\s*\[\d+\]", "", " ".join(block.split()))
        letters = sum(c.isalpha() or c in " ,.'" for c in line)
        sentence = len(line) >= 60 and letters >= 0.93 * len(line) and line[0].isupper() and line[-1] in ".?!"
        if sentence and re.search(r">>>|\(self|::| = |__|\.\.\.", line) is None:
            found.append(line)
    return found
