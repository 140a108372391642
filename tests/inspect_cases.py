"""Generated text of three classes that no check should remark on, and what it is judged beside."""

import random

import numpy as np

from hf_synth.audit.data import Loaded, Real
from hf_synth.audit.inspect import inspect
from hf_synth.audit.records import Rows

NAMES = ["cooking", "travel", "music"]
OWN = {
    "cooking": "oven onion butter recipe flour kitchen soup garlic pepper dish bread sauce knife spoon",
    "travel": "airport hotel ticket beach island train luggage passport tourist border harbour map coast flight",
    "music": "guitar singer concert melody album drummer piano chorus rhythm orchestra song band violin stage",
}
NOUNS = "man woman child friend teacher neighbour doctor house street garden river morning winter evening story book "
NOUNS += "window door table letter city village market school party dog horse mountain lake summer question answer"
VERBS = "saw found lost wanted bought forgot remembered liked carried watched brought described missed enjoyed shared"
ADJECTIVES = "old new quiet small large green cheap strange lovely heavy famous simple broken bright friendly warm"
ENDS = ["yesterday", "again", "with her sister", "after all these years", "because it was late", "for the first time"]
ENDS += ["while it was raining outside", "before the others came home", "without a word", "in the middle of the night"]
STARTS = ["I think that", "Everyone knows how", "Last week", "They say", "Maybe", "It was sad when", "Of course", "We"]
GERMAN = ["Der alte Mann hat gestern das Fenster geschlossen", "Wir haben uns sehr auf den Sommer gefreut"]
GERMAN += ["Niemand wusste, warum die Kinder so laut waren", "Das Haus am Fluss steht seit Jahren leer"]


def sentence(rng, label):
    def thing():
        noun = rng.choice(OWN[label].split()) if rng.random() < 0.5 else rng.choice(NOUNS.split())
        return f"the {rng.choice(ADJECTIVES.split())} {noun}"

    parts = [rng.choice(STARTS)] if rng.random() < 0.5 else []
    for _ in range(rng.randint(1, 3)):
        parts += [thing(), rng.choice(VERBS.split()), thing()]
    return " ".join([*parts, rng.choice(ENDS)]) + "."


def rows_of(count, seed):
    rng = random.Random(seed)
    labels = [rng.randrange(3) for _ in range(count)]
    return Rows([sentence(rng, NAMES[own]) for own in labels], np.array(labels), list(NAMES), np.arange(count))


def loaded(rows, name="made", split="train"):
    facts = {"name": name, "split": split, "text_columns": ["text"], "label_column": "label"}
    return Loaded(rows, facts | {"rows": len(rows), "read": len(rows), "unlabelled": 0, "classes": list(rows.names)})


REAL = Real(loaded(rows_of(400, 1), "real", "test"), loaded(rows_of(400, 2), "real"))


def judged(texts, labels, names=NAMES, index=None, **more):
    rows = Rows(list(texts), np.array(labels), list(names), np.arange(len(texts)) if index is None else index)
    found = inspect(loaded(rows), more.pop("real", REAL), **more)
    return {own["check"]: own for own in found["verdicts"]}
