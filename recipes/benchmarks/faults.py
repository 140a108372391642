"""What `hf-synth inspect` finds of faults that were planted in real rows, each in its own copy, and all together.

taskset -c 1 python recipes/benchmarks/faults.py ../shared/data sst2 ag_news

2,000 rows of each train split are the data set, its other train rows and the test split are the reference.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hf_synth.audit.data import Loaded, Real, load
from hf_synth.audit.inspect import inspect
from hf_synth.audit.instruments import Instruments
from hf_synth.audit.records import Rows
from hf_synth.metrics.tokens import words
from hf_synth.models import resolve
from hf_synth.retrieval.encode import Encoder
from hf_synth.retrieval.settings import ENCODER

FOREIGN = {
    "German": [
        "Der Film war langweilig und viel zu lang.",
        "Die Schauspieler spielen wunderbar zusammen.",
        "Nach einer Stunde wollte ich nur noch gehen.",
        "Der Minister kündigte am Dienstag neue Gesetze an.",
        "Die Aktien des Konzerns fielen um drei Prozent.",
        "Selten habe ich im Kino so sehr gelacht.",
        "Die Mannschaft verlor das Spiel in der letzten Minute.",
        "Forscher haben eine neue Art von Batterie entwickelt.",
    ],
    "French": [
        "Une histoire touchante, bien jouée et bien filmée.",
        "Le scénario est faible et les dialogues sont ridicules.",
        "On sort de la salle avec le sourire aux lèvres.",
        "Le gouvernement a annoncé une réforme des retraites.",
        "Les actions de la banque ont perdu deux pour cent.",
        "L'équipe a gagné le match après les prolongations.",
        "Je ne comprends pas pourquoi ce film a eu du succès.",
        "Des chercheurs ont découvert une planète lointaine.",
    ],
    "Spanish": [
        "La película es una maravilla de principio a fin.",
        "No vale la pena verla, es aburrida y muy larga.",
        "Los actores están muy bien y la música también.",
        "El presidente viajará mañana a la capital argentina.",
        "La empresa anunció que despedirá a mil trabajadores.",
        "El equipo ganó la final con un gol en el último minuto.",
        "Es uno de los peores guiones que he visto en años.",
        "Los científicos presentaron un nuevo telescopio espacial.",
    ],
}
REFUSAL = "I'm sorry, but I can't help with that."


@dataclass
class Copy:
    """Rows that faults are planted in, and where they were."""

    texts: list[str]
    labels: np.ndarray
    names: list[str]
    test: list[str]
    rng: random.Random
    free: list[int]  # places without a fault yet
    fixed: set[int] = field(default_factory=set)  # places whose labels are a fault already

    def take(self, count: int, able: Callable[[int], bool] = lambda at: True) -> list[int]:
        found = [at for at in self.free if able(at)][:count]
        self.free = [at for at in self.free if at not in set(found)]
        return found


def of_class(copy: Copy, label: int) -> list[int]:
    return np.flatnonzero(copy.labels == label).tolist()


def verbatim(copy: Copy) -> list[int]:
    rows = copy.take(20)
    known = [text for text in copy.test if len(words(text)) >= 4]
    for at, text in zip(rows, copy.rng.sample(known, 20), strict=True):
        copy.texts[at] = text
    return rows


def edited(copy: Copy) -> list[int]:
    """One word of eight or more swapped, dropped or doubled, or the case changed."""
    vocabulary = [word for text in copy.texts[:500] for word in text.split()]
    rows = copy.take(100)
    sources = copy.take(100, lambda at: len(copy.texts[at].split()) >= 8)
    for number, (at, source) in enumerate(zip(rows, sources, strict=True)):
        own = copy.texts[source].split()
        place = copy.rng.randrange(len(own))
        new = {0: [copy.rng.choice(vocabulary)], 1: [], 2: [own[place]] * 2, 3: [own[place].upper()]}[number % 4]
        own[place : place + 1] = new
        copy.texts[at], copy.labels[at] = " ".join(own), copy.labels[source]
    return [*rows, *sources]


def twice(copy: Copy) -> list[int]:
    """The text of another row under another label."""
    rows = copy.take(20)
    for at in rows:
        source = copy.take(1)[0]
        copy.texts[at], copy.labels[at] = copy.texts[source], (copy.labels[source] + 1) % len(copy.names)
        copy.fixed |= {at, source}
    return rows


def flipped(copy: Copy) -> list[int]:
    able = [at for at in range(len(copy.texts)) if at not in copy.fixed]
    rows = copy.rng.sample(able, len(copy.texts) // 10)
    for at in rows:
        others = [label for label in range(len(copy.names)) if label != copy.labels[at]]
        copy.labels[at] = copy.rng.choice(others)
    return rows


def renamed(copy: Copy) -> list[int]:
    copy.names[0], copy.names[1] = copy.names[1], copy.names[0]
    return []


def unbalanced(copy: Copy) -> list[int]:
    gone = set(of_class(copy, 1)[len(of_class(copy, 1)) // 19 :])
    kept = [at for at in range(len(copy.texts)) if at not in gone]
    copy.texts, copy.labels = [copy.texts[at] for at in kept], copy.labels[kept]
    return []


def two_words(copy: Copy) -> list[int]:
    rows = of_class(copy, 0)
    for at in rows:
        copy.texts[at] = " ".join(copy.texts[at].split()[:2])
    return rows


def by_length(copy: Copy) -> list[int]:
    """Texts of every other class are cut to half, those of the others joined in pairs."""
    for label in range(len(copy.names)):
        rows, old = of_class(copy, label), list(copy.texts)
        for at, other in zip(rows, [*rows[1:], rows[0]], strict=True):
            own = old[at].split()
            copy.texts[at] = " ".join(own[: len(own) // 2 + 2]) if label % 2 else f"{old[at]} {old[other]}"
    return []


def refused(copy: Copy) -> list[int]:
    of = set(of_class(copy, 0))
    rows = copy.take(int(0.3 * len(of)), lambda at: at in of)
    for at in rows:
        copy.texts[at] = f"{REFUSAL} {copy.texts[at]}"
    return rows


def foreign(copy: Copy) -> list[int]:
    rows = copy.take(len(copy.texts) // 10)
    for at in rows:
        copy.texts[at] = " ".join(copy.rng.sample(FOREIGN[copy.rng.choice(list(FOREIGN))], 2))
    return rows


def mailed(copy: Copy) -> list[int]:
    rows = copy.take(30)
    for number, at in enumerate(rows):
        name = copy.rng.choice(["jane.doe", "m_schmidt", "info", "bob", "li-wei", "a.b.c"])
        place = copy.rng.choice(["example.org", "mail.example.com", "uni-example.de", "example.co.uk"])
        copy.texts[at] += f" Write to {name}{number}@{place} for more."
    return rows


FAULTS: dict[str, tuple[Callable[[Copy], list[int]], tuple[str, ...]]] = {
    "20 test rows": (verbatim, ("test rows",)),
    "100 lightly edited copies": (edited, ("near-duplicates",)),
    "20 copies, other label": (twice, ("duplicates, two labels",)),
    "10 % of labels flipped": (flipped, ("wrong labels",)),
    "two class names swapped": (renamed, ("class names",)),
    "95/5": (unbalanced, ("balance",)),
    "a class of two words": (two_words, ("short texts",)),
    "labels by length": (by_length, ("labels by length",)),
    "a refusal opens 30 % of a class": (refused, ("refusals", "openings")),
    "10 % in other languages": (foreign, ("other languages",)),
    "30 e-mail addresses": (mailed, ("personal data",)),
}
# Those that do not undo each other: a class of two words has no room for others, nor one of 5 %. Labels flip last.
FIRST, LAST, ALONE = ["labels by length"], ["10 % of labels flipped"], ["95/5", "a class of two words"]
TOGETHER = [*FIRST, *(name for name in FAULTS if name not in (*FIRST, *LAST, *ALONE)), *LAST]


def told(found: dict, fault: str, planted: list[int]) -> str:
    """Return what the checks say of planted rows: found, and named without a fault."""
    verdicts = {own["check"]: own for own in found["verdicts"]}
    cells = []
    for check in FAULTS[fault][1]:
        own = verdicts[check]
        rows = [row["row"] for row in own["rows"]]
        said = f"{check}: **{own['verdict']}**"
        if fault.endswith("flipped"):
            first = rows[: found["n"] // 10]
            said += f", precision {np.isin(first, planted).mean():.2f} in the first {len(first)} ranked"
        elif fault == "labels by length" or not planted:
            said += f", {own['reason']}"
        else:
            said += (
                f", {np.isin(planted, rows).sum()} of {len(planted)} rows named, {len(set(rows) - set(planted))} more"
            )
        cells.append(said)
    return "; ".join(cells)


def others(found: dict, fault: str | None) -> str:
    expected = FAULTS[fault][1] if fault else ()
    said = [
        f"{own['check']}: {own['verdict']}"
        for own in found["verdicts"]
        if own["verdict"] in ("look", "bad") and own["check"] not in expected
    ]
    return ", ".join(said) or "-"


def cached(encoder: Encoder) -> Callable[[list[str]], np.ndarray]:
    """Return an encoder that encodes each text once."""
    known: dict[str, np.ndarray] = {}

    def encode(texts: list[str]) -> np.ndarray:
        new = list(dict.fromkeys(text for text in texts if text not in known))
        if new:
            known.update(zip(new, encoder(new), strict=True))
        return np.stack([known[text] for text in texts])

    return encode


def parted(path: Path, rows: int) -> tuple[Loaded, Real]:
    """Return `rows` train rows as the data set, and the others with the test split as the reference."""
    train = load(str(path), "dataset", ("train",), 1_000_000, 0)
    test = load(str(path), "reference", ("test",), 1_000_000, 0)
    order = np.random.default_rng(0).permutation(len(train.rows))
    own, rest = train.rows.take(order[:rows]), train.rows.take(order[rows : 2 * rows])
    facts = train.facts | {"rows": rows, "read": rows}
    return Loaded(replace(own, index=np.arange(rows)), facts), Real(test, Loaded(rest, train.facts))


def planted(own: Loaded, real: Real, faults: list[str]) -> tuple[Loaded, dict[str, list[int]]]:
    rows, rng = own.rows, random.Random(0)
    free = rng.sample(range(len(rows)), len(rows))
    copy = Copy(list(rows.texts), rows.labels.copy(), list(rows.names), list(real.test.rows.texts), rng, free)
    places = {fault: FAULTS[fault][0](copy) for fault in faults}
    return Loaded(Rows(copy.texts, copy.labels, copy.names, np.arange(len(copy.texts))), own.facts), places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of data sets")
    parser.add_argument("names", nargs="+", help="data sets in it")
    parser.add_argument("--num_rows", type=int, default=2_000)
    args = parser.parse_args()
    encode = cached(Encoder(resolve(ENCODER).path, "mean", True, 128))
    for name in args.names:
        own, real = parted(args.data / name, args.num_rows)
        start = time.perf_counter()
        found = inspect(own, real, instruments=Instruments(encode=encode))
        print(f"\n### {name}\n\n{time.perf_counter() - start:.0f} s for the untouched rows, encoding included\n")
        print("| planted | what its check says | other checks at look or bad |\n|---|---|---|")
        print(f"| nothing | | {others(found, None)} |", flush=True)
        for fault in FAULTS:
            data, places = planted(own, real, [fault])
            found = inspect(data, real, instruments=Instruments(encode=encode))
            print(f"| {fault} | {told(found, fault, places[fault])} | {others(found, fault)} |", flush=True)
        data, places = planted(own, real, TOGETHER)
        found = inspect(data, real, instruments=Instruments(encode=encode))
        for fault in TOGETHER:
            print(f"| together: {fault} | {told(found, fault, places[fault])} | |", flush=True)


if __name__ == "__main__":
    main()
