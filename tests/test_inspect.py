"""`hf-synth inspect`: faults planted in generated text are found and named, and a clean set gets no remark."""

import json
import random
import zlib

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset
from scipy.stats.contingency import association

from hf_synth.audit.data import Loaded, Real
from hf_synth.audit.inspect import inspect
from hf_synth.audit.instruments import Instruments
from hf_synth.audit.records import Rows
from hf_synth.commands.main import main

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


@pytest.fixture
def clean():
    rows = rows_of(600, 0)
    return list(rows.texts), rows.labels.copy()


@pytest.fixture(scope="module")
def report():
    return inspect(loaded(rows_of(600, 0)), REAL)


def test_a_clean_set_gets_no_remark(report):
    said = {own["check"]: own["verdict"] for own in report["verdicts"]}
    assert not [check for check, verdict in said.items() if verdict in ("look", "bad")]
    for check in ("test rows", "near-duplicates", "wrong labels", "class names", "balance", "other languages"):
        assert said[check] == "good", check
    assert set(said) == set(report["measures"])
    assert (report["n"], report["seed"]) == (600, 0)
    assert report["versions"]["rensa"]
    json.dumps(report)


def test_test_rows_are_named(clean):
    texts, labels = clean
    for at, source in zip((5, 77, 300), (0, 9, 20), strict=True):
        texts[at] = REAL.test.rows.texts[source].upper()
    found = judged(texts, labels)["test rows"]
    assert found["verdict"] == "bad"
    assert {(row["row"], row["reference_row"]) for row in found["rows"]} == {(5, 0), (77, 9), (300, 20)}


def test_two_words_of_a_test_row_are_no_leak(clean):
    texts, labels = clean
    short = Rows(["lovely soup", *REAL.test.rows.texts], np.append(0, REAL.test.rows.labels), NAMES, np.arange(401))
    texts[3] = "Lovely soup!"
    assert judged(texts, labels, real=Real(loaded(short), None))["test rows"]["verdict"] == "good"


def test_copies_of_the_corpus_are_named(clean):
    texts, labels = clean
    found = judged(texts, labels, corpus=["nothing of the sort is here", texts[8]])["corpus rows"]
    assert (found["verdict"], [row["row"] for row in found["rows"]]) == ("look", [8])


def test_edited_copies_are_named(clean):
    texts, labels = clean
    long = [at for at, text in enumerate(texts) if len(text.split()) >= 12]
    for at, source in zip(long[:30], long[30:60], strict=True):
        own = texts[source].split()
        own[4] = "altered"
        texts[at], labels[at] = " ".join(own), labels[source]
    found = judged(texts, labels)["near-duplicates"]
    named = {row["row"] for row in found["rows"]}
    assert found["verdict"] == "look"
    assert len(named & set(long[:60])) >= 57
    assert len(named - set(long[:60])) <= 3
    assert found["value"] == pytest.approx(30 / 600, abs=0.005)


def test_one_text_that_stands_everywhere_is_bad(clean):
    texts, labels = clean
    texts[100:] = [texts[0]] * 500
    labels[100:] = labels[0]
    found = judged(texts, labels)
    assert [found[check]["verdict"] for check in ("exact duplicates", "near-duplicates")] == ["bad", "bad"]


def test_a_text_with_two_labels_is_named_with_its_group(clean):
    texts, labels = clean
    texts[10], labels[10] = texts[2].lower(), (labels[2] + 1) % 3
    found = judged(texts, labels)
    rows = found["duplicates, two labels"]["rows"]
    assert [(row["row"], row["group"]) for row in rows] == [(2, 2), (10, 2)]
    assert rows[1]["label"] == NAMES[labels[10]]
    assert found["exact duplicates"]["value"] == pytest.approx(1 / 600)


def test_flipped_labels_are_ranked_first(clean):
    texts, labels = clean
    flipped = random.Random(0).sample(range(600), 120)
    truth = labels.copy()
    for at in flipped:
        labels[at] = (labels[at] + 1) % 3
    found = judged(texts, labels)["wrong labels"]
    first = found["rows"][:60]
    assert found["verdict"] in ("look", "bad")
    assert np.mean([row["row"] in flipped for row in first]) >= 0.4
    scores = [row["score"] for row in found["rows"]]
    assert scores == sorted(scores)
    assert np.mean([row["suggested"] == NAMES[truth[row["row"]]] for row in first]) >= 0.4
    assert found["value"] == pytest.approx(0.2, abs=0.08)


def test_labels_that_texts_do_not_tell_are_not_judged(clean):
    texts, labels = clean
    found = judged(texts, np.random.default_rng(0).permutation(labels))["wrong labels"]
    assert found["verdict"] == "skipped"
    assert "cannot judge" in found["reason"]


def test_swapped_class_names_are_named(clean):
    found = judged(*clean, names=["travel", "cooking", "music"])["class names"]
    assert found["verdict"] == "bad"
    assert "'travel' looks like 'cooking'" in found["reason"]
    assert "'cooking' looks like 'travel'" in found["reason"]
    assert "music" not in found["reason"]


def test_other_class_names_are_matched_by_texts(clean):
    report = inspect(loaded(Rows(*clean, ["Kochen", "Reise", "Musik"], np.arange(600))), REAL)
    assignment = report["measures"]["class names"]["assignment"]
    assert assignment == {"Kochen": "cooking", "Reise": "travel", "Musik": "music"}


def test_other_names_of_very_small_classes_are_a_whole_sentence(clean):
    texts, _ = clean
    found = judged(texts, np.arange(600) // 6, names=[f"class {at}" for at in range(100)])["class names"]
    assert (found["verdict"], found["reason"]) == ("look", "no class name is the reference's")


def test_imbalance_is_judged_beside_the_reference(clean):
    texts, labels = clean
    kept = [at for at in range(600) if labels[at] != 2 or at < 40]
    some = [texts[at] for at in kept], labels[kept]
    found = judged(*some)["balance"]
    assert found["verdict"] == "bad"
    assert "'music'" in found["reason"]
    rows = Rows(*some, NAMES, np.arange(len(kept)))
    assert judged(*some, real=Real(loaded(rows), None))["balance"]["verdict"] == "good"


def test_a_class_that_is_missing_is_named(clean):
    texts, labels = clean
    kept = np.flatnonzero(labels != 2)
    found = judged([texts[at] for at in kept], labels[kept], names=NAMES[:2])["balance"]
    assert (found["verdict"], found["value"]) == ("bad", 0)
    assert "'music' has 0.0 %" in found["reason"]


def test_a_class_of_two_words(clean):
    texts, labels = clean
    texts = [" ".join(text.split()[:2]) if own == 1 else text for text, own in zip(texts, labels, strict=True)]
    found = judged(texts, labels)["short texts"]
    assert found["verdict"] == "bad"
    assert {row["row"] for row in found["rows"]} == set(np.flatnonzero(labels == 1))


def test_labels_given_away_by_length(clean):
    texts, labels = clean
    texts = [text + " and so on and so forth" * (3 * own) for text, own in zip(texts, labels, strict=True)]
    found = judged(texts, labels, real=None)["labels by length"]
    assert found["verdict"] == "bad"
    assert found["value"] > 0.9


def test_a_refusal_that_opens_a_class(clean):
    texts, labels = clean
    opened = np.flatnonzero(labels == 0)[: int(0.3 * (labels == 0).sum())]
    for at in opened:
        texts[at] = f"As an AI language model, I cannot write that. {texts[at]}"
    found = judged(texts, labels)
    assert {row["row"] for row in found["refusals"]["rows"]} == set(opened)
    assert found["refusals"]["verdict"] == "bad"
    assert found["openings"]["verdict"] in ("look", "bad")
    assert "'as an ai language'" in found["openings"]["reason"]
    assert {row["row"] for row in found["openings"]["rows"]} == set(opened)


def test_another_language(clean):
    pytest.importorskip("py3langid")
    texts, labels = clean
    for at in range(0, 600, 10):
        texts[at] = f"{GERMAN[at % 4]}. {GERMAN[(at + 1) % 4]}."
    found = judged(texts, labels)["other languages"]
    assert found["verdict"] in ("look", "bad")
    assert {row["row"] for row in found["rows"]} == set(range(0, 600, 10))
    assert {row["language"] for row in found["rows"]} == {"de"}


def test_an_empty_text_is_named(clean):
    texts, labels = clean
    texts[7] = " \n..."
    found = judged(texts, labels)["empty texts"]
    assert (found["verdict"], [row["row"] for row in found["rows"]]) == ("look", [7])


def test_a_set_of_nothing_but_empty_texts_is_judged():
    found = judged([" "] * 30, [at % 3 for at in range(30)], real=None)
    assert found["empty texts"]["verdict"] == "bad"


def test_texts_of_one_mould_are_less_diverse(clean):
    _, labels = clean
    rng = random.Random(0)
    texts = [f"the {rng.choice(OWN[NAMES[own]].split())} is good and I like it very much" for own in labels]
    found = judged(texts, labels)
    assert found["self-BLEU-4"]["verdict"] == found["distinct-2"]["verdict"] == "look"
    assert found["told apart"]["verdict"] == "look"
    assert found["phrases"]["verdict"] == "bad"


def test_personal_data_is_never_written(clean):
    texts, labels = clean
    texts[4] = texts[9] = "Mail jane.doe@example.org or call +1 (212) 555-0187 now, she said."
    found = judged(texts, labels, corpus=[texts[4]])
    assert {row["row"] for row in found["corpus rows"]["rows"]} == {4, 9}
    written = json.dumps(found)
    assert "jane" not in written
    assert "0187" not in written
    assert "<" in found["corpus rows"]["rows"][0]["text"]


@pytest.mark.extras
def test_personal_data_is_named(clean):
    pytest.importorskip("presidio_analyzer")
    texts, labels = clean
    texts[4] += " Write to jane.doe@example.org."
    texts[5] += " My card is 4111 1111 1111 1111."
    texts[6] += " It ran on 192.168.13.7 then."
    texts[7] += " See https://example.org/a for more."
    found = judged(texts, labels)["personal data"]
    kinds = {row["row"]: set(row["kinds"]) for row in found["rows"]}
    assert kinds == {4: {"EMAIL_ADDRESS"}, 5: {"CREDIT_CARD"}, 6: {"IP_ADDRESS"}}
    assert "<EMAIL_ADDRESS>" in next(row["text"] for row in found["rows"] if row["row"] == 4)
    assert "URL 1" in found["reason"]


@pytest.fixture
def folders(tmp_path):
    """A data set with names for labels and columns of its own, and a reference with class ids."""
    own, test = rows_of(120, 0), rows_of(80, 1)
    names = [NAMES[at] for at in own.labels]
    rows = {"id": [f"no. {at}" for at in range(120)], "utterance": own.texts, "intent": names}
    Dataset.from_dict(rows).to_json(tmp_path / "own.jsonl")
    features = Features({"text": Value("string"), "label": ClassLabel(names=NAMES)})
    real = Dataset.from_dict({"text": test.texts, "label": test.labels.tolist()}, features=features)
    folder = tmp_path / "real"
    (folder / "data").mkdir(parents=True)
    DatasetDict({"test": real})["test"].to_parquet(folder / "data/test-0.parquet")
    return str(tmp_path / "own.jsonl"), str(folder)


def test_the_command_writes_what_it_prints(folders, student_folder, tmp_path, capsys):
    own, real = folders
    flags = ["--reference", real, "--encoder", str(student_folder), "--output_dir", str(tmp_path / "out")]
    assert main(["inspect", own, *flags]) == 0
    report = json.loads((tmp_path / "out/inspect.json").read_text())
    assert (report["dataset"]["text_columns"], report["dataset"]["label_column"]) == (["utterance"], "intent")
    assert report["reference"]["split"] == "test"
    assert report["instruments"]["encoder"]["name"] == "student0"
    checks = {found["check"]: found for found in report["verdicts"]}
    assert checks["Vendi score"]["value"] == report["measures"]["Vendi score"]["own"]["vendi"]
    assert checks["balance"]["verdict"] == "good"
    for found in report["verdicts"]:
        assert found["verdict"] in ("good", "look", "bad", "skipped")
        assert {"check", "value", "limit", "reason", "rows"} <= set(found)
    printed = capsys.readouterr().out
    assert "near-duplicates" in printed
    assert "inspect.json" in printed


def test_eighty_columns_are_enough_to_read_a_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    rows = rows_of(200, 0)
    names = [NAMES[at] for at in rows.labels]
    Dataset.from_dict({"text": [*rows.texts[:100], *rows.texts[:100]], "label": names}).to_csv(tmp_path / "a.csv")
    assert main(["inspect", str(tmp_path / "a.csv"), "--encoder", "none", "--output_dir", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert "rows 0, 100, 1, 101, 2 +195" in " ".join(printed.split())
    assert len(printed.splitlines()) < 80


@pytest.mark.parametrize("between", [";", "\t"])
def test_a_table_need_not_be_separated_by_commas(between, tmp_path):
    rows = rows_of(60, 0)
    names = [NAMES[at] for at in rows.labels]
    texts = [f"well, {text}, or so" for text in rows.texts]
    Dataset.from_dict({"text": texts, "label": names}).to_csv(tmp_path / "a.csv", sep=between)
    assert main(["inspect", str(tmp_path / "a.csv"), "--encoder", "none", "--output_dir", str(tmp_path / "out")]) == 0
    told = json.loads((tmp_path / "out/inspect.json").read_text())["dataset"]
    assert (told["rows"], told["text_columns"], told["label_column"]) == (60, ["text"], "label")


def test_without_a_reference_and_with_a_sample(folders, tmp_path):
    flags = ["--encoder", "none", "--max_rows", "50", "--output_dir", str(tmp_path / "out")]
    assert main(["inspect", folders[0], *flags]) == 0
    report = json.loads((tmp_path / "out/inspect.json").read_text())
    assert report["n"] == 50
    assert report["sampled"] == {"read": 50, "of": 120, "embedded_and_labels_judged": 50}
    skipped = {found["check"] for found in report["verdicts"] if found["verdict"] == "skipped"}
    assert {"test rows", "self-BLEU-4", "Vendi score"} <= skipped
    texts = load_dataset("json", data_files=folders[0], split="train", cache_dir=str(tmp_path))["utterance"]
    for found in report["verdicts"]:
        for row in found["rows"]:
            assert texts[row["row"]].startswith(row["text"].removesuffix("…"))


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--label_column", "intnt"], "Did you mean 'intent'?"),
        (["--text_columns", "[utterence]"], "Did you mean 'utterance'?"),
        (["--text_columns", "utterence"], "Did you mean 'utterance'?"),
        (["--split", "test"], "must be one of train"),
        (["--reference", "no/such-set"], "`reference`: 'no/such-set'"),
        (["--max_rows", "2"], "`max_rows`"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_written(folders, tmp_path, capsys, monkeypatch, flags, sentence):
    monkeypatch.setattr("hf_synth.models.hub_unreachable", lambda: "HF_HUB_OFFLINE is set")
    out = tmp_path / "out"
    assert main(["inspect", folders[0], "--encoder", "none", "--output_dir", str(out), *flags]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.splitlines()[-1].startswith("hf-synth: ")
    assert "Traceback" not in error
    assert not out.exists()


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "folder/train.jsonl", "broken.json"])
def test_a_file_without_rows_or_one_that_is_broken(name, tmp_path, capsys):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("{broken" if name == "broken.json" else "")
    where = file.parent if file.parent != tmp_path else file
    assert main(["inspect", str(where), "--encoder", "none", "--output_dir", str(tmp_path / "out")]) == 2
    assert "cannot be loaded: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_real_rows_agree_with_the_oracle_and_flipped_ones_do_not(clean):
    texts, labels = clean
    found = judged(texts, labels)["oracle"]
    assert found["verdict"] == "good"
    rng = random.Random(0)
    wrong = rng.sample(range(len(labels)), 300)
    labels[wrong] = (labels[wrong] + 1) % 3
    found = judged(texts, labels)["oracle"]
    assert found["verdict"] == "bad"
    assert found["value"] < 0.75
    assert np.isin(wrong, [row["row"] for row in found["rows"]]).mean() > 0.9


def test_rows_that_teach_nothing_are_told_by_their_use(clean, report):
    texts, labels = clean
    said = {own["check"]: own for own in report["verdicts"]}
    assert (said["usefulness"]["verdict"], said["calibration"]["verdict"]) == ("good", "good")
    shuffled = np.random.default_rng(0).permutation(labels)
    found = judged(texts, shuffled)["usefulness"]
    assert found["verdict"] == "bad"
    assert found["value"] < 0.6
    curve = report["measures"]["more rows"]["curve"]
    assert [one["rows"] for one in curve] == [75, 150, 300, 600]
    assert curve[-1]["accuracy"] == pytest.approx(said["usefulness"]["value"])


def test_as_many_real_rows_are_of_all_classes_where_the_train_split_is_sorted(clean):
    train = REAL.train.rows
    ordered = Real(REAL.test, loaded(train.take(np.argsort(train.labels, kind="stable")), "real"))
    rows = Rows(clean[0][:100], clean[1][:100], NAMES, np.arange(100))
    told = inspect(loaded(rows), ordered)["measures"]["usefulness"]
    assert min(told["real to real"]["recall"].values()) > 0.3


def test_a_class_of_the_train_split_alone_is_no_traceback(clean):
    train = REAL.train.rows
    more = Rows(
        [*train.texts, *["a word of its own"] * 30],
        np.append(train.labels, [3] * 30),
        [*NAMES, "more"],
        np.arange(430),
    )
    found = judged(*clean, real=Real(REAL.test, loaded(more, "real")))["usefulness"]
    assert found["verdict"] == "good"


def test_labels_that_go_with_who_is_spoken_of(clean):
    texts, labels = clean
    for at in range(0, 300):
        word = "women" if labels[at] == 0 else "men" if at % 4 else "women"
        texts[at] += f" It was said by {word}."
    found = judged(texts, labels)["group words"]
    assert found["verdict"] == "look"
    assert "women and men" in found["reason"]


def test_attributes_that_are_always_the_same(clean):
    texts, labels = clean
    even = [json.dumps({"style": ["short", "long"][at % 2]}) for at in range(len(texts))]
    odd = [json.dumps({"style": "long" if at % 50 else "short"}) for at in range(len(texts))]
    for given, verdict in ((even, "good"), (odd, "look")):
        rows = Rows(texts, labels, NAMES, np.arange(len(texts)), attributes=given)
        found = inspect(loaded(rows), REAL)
        assert {own["check"]: own["verdict"] for own in found["verdicts"]}["attributes"] == verdict
    told = found["measures"]["attributes"]["attributes"]["style"]["with_label"]
    table = np.zeros((2, len(NAMES)), int)
    for at, label in enumerate(labels):
        table[int(at % 50 > 0), label] += 1
    assert told == pytest.approx(association(table, "cramer"))


def test_texts_near_a_test_row_are_found_by_their_embedding(clean):
    def encode(texts):
        return np.stack([np.random.default_rng(abs(hash(text.lower())) % 2**32).normal(size=16) for text in texts])

    texts, labels = clean
    test = REAL.test.rows.texts
    for at in range(40):
        texts[at] = test[at].upper()
    rows = Rows(texts, labels, NAMES, np.arange(len(texts)))
    found = inspect(loaded(rows), REAL, instruments=Instruments(encode=encode))
    near = {own["check"]: own for own in found["verdicts"]}["near test rows"]
    assert near["verdict"] == "look"
    assert {row["row"] for row in near["rows"]} == set(range(40))
    assert all(row["reference_row"] == row["row"] for row in near["rows"])


def test_texts_near_the_few_shots_are_found_where_real_rows_are_not(clean):
    def encode(texts):
        return np.stack([np.random.default_rng(zlib.crc32(text.lower().encode())).normal(size=16) for text in texts])

    texts, labels = clean
    shots = rows_of(40, 9).texts
    for at in range(30):
        texts[at] = shots[at].upper()
    rows = Rows(texts, labels, NAMES, np.arange(len(texts)))
    said = {}
    for corpus in (shots, rows_of(40, 10).texts):
        found = inspect(loaded(rows), REAL, corpus, Instruments(encode=encode))
        said[len(said)] = {own["check"]: own for own in found["verdicts"]}["corpus rows"]
    assert [one["verdict"] for one in said.values()] == ["look", "good"]
    assert {row["row"] for row in said[0]["rows"]} == set(range(30))
    assert "mean nearly what one of 40" in said[0]["reason"]


def test_canaries_and_what_a_model_has_kept(clean):
    texts, labels = clean
    secret = "the code of the safe is 4711"
    texts[3] += f" By the way, {secret}!"
    rows, corpus = Rows(texts, labels, NAMES, np.arange(len(texts))), rows_of(100, 9).texts
    known = {*corpus, *(text.lower() for text in corpus), secret}

    def score(asked):
        return [-0.2 - len(text) % 3 * 0.01 if text in known else -3.0 for text in asked]

    found = inspect(loaded(rows), REAL, corpus, Instruments(score=score, total=score), canaries=[secret])
    said = {own["check"]: own for own in found["verdicts"]}
    assert (said["canaries"]["verdict"], said["canaries"]["rows"][0]["row"]) == ("bad", 3)
    assert found["measures"]["canaries"]["exposure"] > 7
    assert said["memorisation"]["verdict"] == "bad"
    assert said["memorisation"]["value"] == pytest.approx(1.0)
    assert said["perplexity"]["verdict"] == "good"
    assert secret not in json.dumps(found["verdicts"][0])


def test_a_canary_of_one_digit_or_of_no_word_says_little(clean):
    texts, labels = clean
    texts[7] = " "

    def score(asked):
        return [-0.1 if text == "the code is 7" else -3.0 for text in asked]

    rows = Rows(texts, labels, NAMES, np.arange(len(texts)))
    found = inspect(loaded(rows), instruments=Instruments(total=score), canaries=["the code is 7", "***"])
    assert {own["check"]: own for own in found["verdicts"]}["canaries"]["verdict"] == "good"
    assert found["measures"]["canaries"]["exposure"] == pytest.approx(np.log2(10))


def test_a_judge_and_a_toxicity_classifier(clean):
    texts, labels = clean
    texts[5] += " zounds"

    def judge(asked, names):
        return [max(names, key=lambda name: sum(word in text for word in OWN[name].split())) for text in asked]

    def toxic(asked):
        return [float("zounds" in text) for text in asked]

    rows = Rows(texts, labels, NAMES, np.arange(len(texts)))
    found = inspect(loaded(rows), REAL, instruments=Instruments(judge=judge, toxic=toxic))
    said = {own["check"]: own for own in found["verdicts"]}
    assert (said["judge"]["verdict"], said["toxicity"]["verdict"]) == ("good", "good")
    assert found["measures"]["judge"]["accuracy"] > 0.8
    assert found["measures"]["toxicity"]["rows"] == 400  # as many as the reference has


def test_the_noise_of_each_class_is_estimated(clean):
    texts, labels = clean
    music = np.flatnonzero(labels == 2)
    labels[music[: len(music) // 3]] = 0  # a third of music is called cooking
    rows = Rows(texts, labels, NAMES, np.arange(len(texts)))
    noise = inspect(loaded(rows))["measures"]["wrong labels"]["noise"]
    real = (len(music) // 3) / (labels == 0).sum()
    assert noise["cooking"]["music"] == pytest.approx(real, abs=0.1)
    assert noise["travel"]["travel"] > 0.9


@pytest.mark.extras
def test_personal_data_in_prompts(clean):
    pytest.importorskip("presidio_analyzer")
    rows = Rows(*clean, NAMES, np.arange(600))
    found = inspect(loaded(rows), prompts=["Write a review.", "Write to jane.doe@example.org."])
    said = {own["check"]: own for own in found["verdicts"]}
    assert [row["prompt"] for row in said["personal data, prompts"]["rows"]] == [1]
    assert said["personal data"]["rows"] == []
    assert "jane" not in json.dumps(found)


def test_a_column_of_numbers_is_no_label(tmp_path, capsys):
    rows = {
        "text": [f"a text of some words, number {at}" for at in range(200)],
        "label": [at / 7 for at in range(200)],
    }
    Dataset.from_dict(rows).to_json(tmp_path / "rows.jsonl")
    assert main(["inspect", str(tmp_path / "rows.jsonl"), "--encoder", "none"]) == 2
    assert "200 values in 200 rows: no labels" in capsys.readouterr().err


def test_many_canaries_are_not_exposed_by_chance(clean):
    rows = Rows(*clean, NAMES, np.arange(600))
    rng = random.Random(0)
    secrets = [f"code {rng.randrange(10**6)} of user {at}" for at in range(100)]
    likely = {}

    def score(asked):
        return [likely.setdefault(text, -rng.expovariate(1)) for text in asked]

    found = inspect(loaded(rows), REAL, instruments=Instruments(total=score), canaries=secrets)
    assert {own["check"]: own["verdict"] for own in found["verdicts"]}["canaries"] == "good"


def test_a_reference_of_train_rows_alone_has_no_test_split(clean):
    texts, labels = clean
    texts[3] = REAL.test.rows.texts[5]
    only = Real(Loaded(REAL.test.rows, {**REAL.test.facts, "split": "train"}), None)
    found = judged(texts, labels, real=only)["test rows"]
    assert found["verdict"] == "look"
    assert "train split" in found["reason"]


def test_the_rows_that_the_oracle_is_surest_of_come_first(clean):
    texts, labels = clean
    texts[7] = " ".join(OWN["music"].split()[:12])
    labels[7] = 0
    found = judged(texts, labels)["oracle"]
    assert found["rows"][0]["row"] == 7
