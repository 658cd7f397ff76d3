"""A character-level network whose surprise flags what is not English prose: code, other languages. Many users at once.

    python examples/train/text.py --figure docs/models/text.png --json text.json

Each character that a user types is a step of that user's stream. The network was shown English prose alone (see
corpus.py: the documentation that Python installs, nothing is downloaded), and says how likely each next character is.
What it finds unlikely for a while is of another kind. Three questions, all on modules that training never saw:

a. Bits a character on prose, beside a trigram model of the same text.
b. Messages of 30 and of 200 characters: the area under the curve of mean surprise, prose against each other kind.
c. 24 users whose characters arrive interleaved, each of whom pastes 400 characters of another kind somewhere into
   prose: how many are flagged before the paste ends, after how many characters, and how many flags the prose around
   raises. The detector's threshold was calibrated on validation text to one flag in 10,000 characters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import Floats, answers, arguments, plotting, save, table, trained, write
from corpus import ALPHABET, CHAT, FOREIGN, TOKENS, Corpus, corpus, encode

from streamrnn import Engine, Model
from streamrnn.model.builtin import model_path
from streamrnn.train import Recording, Settings
from streamrnn.train.measures import auroc

MESSAGES, PASTE = (30, 200), 400
"""Characters of messages, and of what a user pastes."""
USERS = 24


def streams(paragraphs: Sequence[str], length: int, name: str, rng: np.random.Generator) -> list[Recording]:
    """The paragraphs in a random order, as streams of about so many characters each."""
    out: list[Recording] = []
    now = ""
    for k in rng.permutation(len(paragraphs)):
        now += paragraphs[k] + "\n"
        if len(now) >= length:
            out.append(Recording(f"{name} {len(out)}", encode(now)))
            now = ""
    return out or [Recording(name, encode(now))]


def learn(texts: Corpus, quick: bool, seed: int) -> Model:
    rng = np.random.default_rng(seed)
    train = streams(texts.train[:60] if quick else texts.train, 4096, "train", rng)
    validation = streams(texts.validation[:20] if quick else texts.validation, 8192, "validation", rng)
    settings = Settings(
        head="forecast",
        tokens=TOKENS,
        embedding=16,
        hidden=8 if quick else 96,
        chunk=64,
        piece=4096,
        batch=64,
        epochs=1 if quick else 24,
        patience=4,
        rate=6e-3,
        features=("character",),
        detector={"surprise_rate": 0.02},
        false_alarms="2/1000" if quick else "0.1/1000",
        seed=seed,
        threads=1,
    )
    model = trained(train, settings, validation).model
    return Model(
        model.spec.with_provenance(alphabet=ALPHABET, text="the documentation of Python's library"), model.arrays
    )


class Trigrams:
    """How likely a character is after the two before it, interpolated with shorter contexts (Witten and Bell 1991)."""

    def __init__(self, paragraphs: Sequence[str]) -> None:
        x = encode("\n".join(paragraphs))[:, 0].astype(int)
        self._counts = [np.bincount(x, minlength=TOKENS).astype(np.float64)]
        self._counts.append(np.zeros((TOKENS, TOKENS)))
        np.add.at(self._counts[1], (x[:-1], x[1:]), 1)
        self._counts.append(np.zeros((TOKENS, TOKENS, TOKENS)))
        np.add.at(self._counts[2], (x[:-2], x[1:-1], x[2:]), 1)

    def __call__(self, text: str) -> Floats:
        """Bits of each character from the third on."""
        x = encode(text)[:, 0].astype(int)
        a, b, c = x[:-2], x[1:-1], x[2:]
        p = np.full(len(c), 1 / TOKENS)
        for counts in (np.broadcast_to(self._counts[0], (len(c), TOKENS)), self._counts[1][b], self._counts[2][a, b]):
            total, kinds = counts.sum(1), (counts > 0).sum(1)
            seen = (counts[np.arange(len(c)), c] + kinds * p) / np.maximum(total + kinds, 1)
            p = np.where(total > 0, seen, p)
        return np.asarray(-np.log2(p))


def surprise(model: Model) -> Callable[[str], Floats]:
    """Bits of each character from the third on, as the engine's probabilities have it."""

    def bits(text: str) -> Floats:
        x = encode(text)
        y = answers(model, x)
        return np.asarray(-np.log2(np.maximum(y[np.arange(1, len(x) - 1), x[2:, 0].astype(int)], 2.0**-126)))

    return bits


def cut(text: str, length: int) -> list[str]:
    """The text in pieces of so many characters; what is left over is left out, unless there is nothing else."""
    text = " ".join(text.split(" "))
    return [text[i : i + length] for i in range(0, max(len(text) - length, 0) + 1, length)]


def kinds(texts: Corpus, length: int, most: int) -> dict[str, list[str]]:
    """Messages of each kind, so many characters each."""
    found = {"prose": cut(" ".join(texts.test), length)[:most]}
    found["code"] = [m for module in texts.code for m in cut(module, length)][:: max(1, 2000 // most)][:most]
    found |= {language: cut(text, length) for language, text in FOREIGN.items()}
    found["English, but chat"] = cut(CHAT, length)
    return found


def judged(texts: Corpus, length: int, most: int, seen: Sequence[Callable[[str], Floats]]) -> dict[str, Any]:
    """Bits of messages of each kind, as the network and the trigrams see them, and the area against prose."""
    out: dict[str, Any] = {}
    prose: list[list[float]] = []
    for kind, messages in kinds(texts, length, most).items():
        ours, theirs = ([float(see(m).mean()) for m in messages] for see in seen)
        prose = prose or [ours, theirs]
        out[kind] = {"messages": len(ours), "bits": float(np.mean(ours)), "each": ours}
        for name, own, other in (("auroc", ours, prose[0]), ("auroc_trigrams", theirs, prose[1])):
            out[kind][name] = auroc(own + other, [True] * len(own) + [False] * len(other))
    return out


def interleaved(model: Model, texts: Corpus, rng: np.random.Generator) -> dict[str, Any]:
    """Users who type at once into one engine, and what it flags."""
    prose = streams(texts.test, 2000, "", rng)
    others = {"code": [m for module in texts.code for m in cut(module, PASTE)[:3]]}
    others |= {language: [text[:PASTE]] for language, text in FOREIGN.items()}
    users: list[tuple[str, npt.NDArray[np.float32], int]] = []
    for user in range(USERS):
        kind = list(others)[user % len(others)]
        pasted = encode(others[kind][int(rng.integers(len(others[kind])))])
        own = prose[user % len(prose)].x
        at = int(rng.integers(600, len(own) - 200))
        users.append((kind, np.concatenate([own[:at], pasted, own[at:]]), at))
    # One character of each user in turn, as long as he has one.
    order = [(i, u) for i in range(max(len(x) for _, x, _ in users)) for u in range(USERS) if i < len(users[u][1])]
    rows = np.array([users[u][1][i] for i, u in order])
    out = Engine(model, capacity=USERS).step_many([f"user {u}" for _, u in order], rows)
    where = np.array(order)
    delays: dict[str, list[int]] = {kind: [] for kind in others}
    false, characters, shown = 0, 0, None
    for u, (kind, x, at) in enumerate(users):
        mine = where[:, 1] == u
        raised = np.flatnonzero(out.edge[mine] == 1)
        inside = (raised >= at) & (raised < at + PASTE)
        if inside.any():
            delays[kind].append(int(raised[inside][0]) - at)
        # What a paste raises may still stand, or come, while the average forgets it.
        false += int(((raised < at) | (raised >= at + PASTE + 200)).sum())
        characters += len(x) - PASTE - 200
        if shown is None and kind == "German":
            shown = {"score": out.score[mine].tolist(), "flag": out.flag[mine].tolist(), "at": at}
    share = {k: (len(delays[k]), sum(kind == k for kind, _, _ in users)) for k in others}
    return {
        "flagged": {k: list(v) for k, v in share.items()},
        "median_delay": {k: float(np.median(v)) if v else None for k, v in delays.items()},
        "false_flags": false,
        "prose_characters": characters,
        "shown": shown,
    }


def draw(model: Model, report: dict[str, Any], path: Path) -> None:
    """Surprise by kind, and the score of one user who pastes German."""
    plt = plotting()
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), width_ratios=(1, 1.3))
    found = report["messages"][f"{MESSAGES[-1]} characters"]
    for row, kind in enumerate(found):
        low, middle, high = np.quantile(found[kind]["each"], [0.05, 0.5, 0.95])
        left.plot([low, high], [row, row], color="tab:blue", lw=3, alpha=0.4)
        left.plot(middle, row, "o", color="tab:blue")
    left.set_yticks(range(len(found)), list(found))
    left.set_xlabel(f"bits a character, messages of {MESSAGES[-1]}")
    shown = report["interleaved"]["shown"]
    begin = max(shown["at"] - 400, 0)
    t = np.arange(begin, min(shown["at"] + PASTE + 600, len(shown["score"])))
    right.axvspan(shown["at"], shown["at"] + PASTE, color="0.9", label="German")
    right.plot(t, np.array(shown["score"])[t], "k", lw=0.8, label="score")
    right.fill_between(t, 0, np.array(shown["flag"])[t] * 0.6, step="mid", color="tab:red", label="flag")
    right.axhline(model.describe()["detector"]["threshold"], color="tab:red", lw=0.6, ls=":")
    right.set_xlabel("character of the user's stream")
    right.legend(frameon=False, fontsize=8)
    save(figure, path)


def main() -> None:
    args = arguments(
        __doc__, ("--model", {"metavar": "MODEL", "help": "judge this one (text: the built-in), train none"})
    )
    texts = corpus(8 if args.quick else 1)
    model = Model.load(model_path(args.model)) if args.model else learn(texts, args.quick, args.seed)
    network, trigrams = surprise(model), Trigrams(texts.train[:60] if args.quick else texts.train)
    held_out = "\n".join(texts.test[:10] if args.quick else texts.test)
    report: dict[str, Any] = {
        "characters": {part: sum(map(len, getattr(texts, part))) for part in ("train", "validation", "test")},
        "bits": {"network": float(network(held_out).mean()), "trigrams": float(trigrams(held_out).mean())},
        "messages": {},
    }
    rows = []
    for length in MESSAGES:
        found = judged(texts, length, 20 if args.quick else 250, (network, trigrams))
        report["messages"][f"{length} characters"] = found
        for kind, m in found.items():
            against = ["", ""] if kind == "prose" else [f"{m['auroc']:.3f}", f"{m['auroc_trigrams']:.3f}"]
            rows.append([str(length), kind, str(m["messages"]), f"{m['bits']:.2f}", *against])
    report["interleaved"] = live = interleaved(model, texts, np.random.default_rng(args.seed + 1))
    bits = report["bits"]
    print(f"prose that was held out: {bits['network']:.3f} bits a character, trigrams {bits['trigrams']:.3f}")
    print(table(["characters", "message", "how many", "bits a character", "AUROC against prose", "of trigrams"], rows))
    flagged = ", ".join(f"{k} {n} of {m}" for k, (n, m) in live["flagged"].items())
    print(f"pastes flagged before they end: {flagged}; after so many characters (median): {live['median_delay']}")
    print(f"false flags: {live['false_flags']} in {live['prose_characters']:,} characters of prose")
    write(args, report, model)
    if args.figure:
        draw(model, report, args.figure)


if __name__ == "__main__":
    main()
