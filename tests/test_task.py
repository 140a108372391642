"""Tasks: every packaged YAML file, tasks of one's own, and what is refused with which sentence."""

from __future__ import annotations

import re
from importlib import resources

import pytest
import yaml
from datasets import ClassLabel, Features, List, Value

from hf_synth.config import Loader, read_yaml
from hf_synth.errors import InputError
from hf_synth.reference import _side
from hf_synth.shapes import shape
from hf_synth.task import Task
from hf_synth.tasks import load_task, parse_task, task_names

NAMES = task_names()
PAIRS = {
    "qnli": ("sentence", "question"),
    "rte": ("sentence1", "sentence2"),
    "mnli": ("premise", "hypothesis"),
    "qqp": ("question1", "question2"),
    "mrpc": ("sentence1", "sentence2"),
}
LABEL_COUNTS = {
    "imdb": 2, "rotten_tomatoes": 2, "elec": 2, "amazon_polarity": 2, "yelp_polarity": 2, "sst2": 2, "subj": 2,
    "ag_news": 4, "dbpedia_14": 14, "yahoo_answers_topics": 10, "nyt": 9, "trec": 6, "qnli": 2, "rte": 2, "mnli": 3,
    "qqp": 2, "mrpc": 2, "cola": 2, "clinc_oos": 151, "banking77": 77, "amazon_product_categories": 24, "reddit": 45,
    "stackexchange": 50, "bc5cdr": 2, "crossner_ai": 14, "euadr": 2, "gad": 2, "ncbi_disease": 1,
    "nlupp_hotels": 40, "nlupp_hotels_slots": 14, "squad": 4, "topv2": 13,
}  # fmt: skip

# What the prompt of a label must say: a swapped pair of names would train a mirrored classifier.
POLARITY = [
    ("imdb", "neg", "critic hated"),
    ("imdb", "pos", "critic loved"),
    ("rotten_tomatoes", "neg", "critic hated"),
    ("rotten_tomatoes", "pos", "critic loved"),
    ("sst2", "negative", "critic hated"),
    ("sst2", "positive", "critic loved"),
    ("elec", "negative", "hated it"),
    ("elec", "positive", "loved it"),
    ("amazon_polarity", "negative", "hated it"),
    ("amazon_polarity", "positive", "loved it"),
    ("yelp_polarity", "1", "negative experience"),
    ("yelp_polarity", "2", "positive experience"),
    ("subj", "objective", "plot summary"),
    ("subj", "subjective", "movie critic"),
    ("ag_news", "World", "the world news section"),
    ("ag_news", "Sports", "the sports section"),
    ("ag_news", "Business", "the business section"),
    ("ag_news", "Sci/Tech", "the science and technology section"),
    ("dbpedia_14", "EducationalInstitution", "certain high school:"),
    ("dbpedia_14", "OfficeHolder", "certain politician:"),
    ("dbpedia_14", "MeanOfTransportation", "certain warship:"),
    ("dbpedia_14", "WrittenWork", "certain novel:"),
    ("yahoo_answers_topics", "Computers & Internet", "about a laptop"),
    ("nyt", "real estate", "the real estate section"),
    ("trec", "ABBR", "abbreviation"),
    ("trec", "DESC", "a short question"),
    ("trec", "HUM", "a person"),
    ("trec", "LOC", "a place"),
    ("trec", "NUM", "a number"),
    ("rte", "entailment", "that the passage proves:"),
    ("rte", "not_entailment", "does not prove:"),
    ("mnli", "entailment", "So it is true that:"),
    ("mnli", "neutral", "It may also be that:"),
    ("mnli", "contradiction", "So it is false that:"),
    ("mrpc", "equivalent", "in other words:"),
    ("mrpc", "not_equivalent", "Other news about it:"),
    ("cola", "acceptable", "grammatically correct:"),
    ("cola", "unacceptable", "grammatically incorrect:"),
    ("clinc_oos", "yes", "answer yes"),
    ("clinc_oos", "no", "answer no"),
    ("clinc_oos", "oos", "cannot help with"),
    ("banking77", "reverted_card_payment?", "a card payment that was reverted"),
    ("banking77", "Refund_not_showing_up", "a refund that does not show up"),
]


LABELLED = [name for name in NAMES if load_task(name).kind in ("single", "pair")]
OTHERS = {
    "bc5cdr": ("tokens", ["tokens", "ner_tags"]),
    "crossner_ai": ("tokens", ["tokens", "ner_tags"]),
    "euadr": ("relation", ["sentence", "label"]),
    "gad": ("relation", ["sentence", "label"]),
    "ncbi_disease": ("tokens", ["tokens", "ner_tags"]),
    "nlupp_hotels": ("multi_label", ["text", "intents"]),
    "nlupp_hotels_slots": ("tokens", ["tokens", "slots"]),
    "squad": ("qa", ["id", "title", "context", "question", "answers"]),
    "topv2": ("parse", ["utterance", "semantic_parse"]),
}


def own_task(folder, text: str, name: str = "mine.yaml") -> Task:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return load_task(str(path))


def file_text(name: str) -> str:
    return (resources.files("hf_synth.tasks") / f"{name}.yaml").read_text(encoding="utf-8")


# --- packaged tasks


def test_packaged_tasks_are_all_covered():
    assert set(NAMES) == set(LABEL_COUNTS)
    assert {name for name in NAMES if load_task(name).kind == "pair"} == set(PAIRS)


@pytest.mark.parametrize("name", NAMES)
def test_packaged_task(name):
    task = load_task(name)
    assert task.name == name
    assert len(task.labels) == LABEL_COUNTS[name]
    assert task.cells == (*task.labels, *(["none"] if task.empty else []))
    assert task.language == ("en",)
    assert len(task.description) > 20
    assert task.kind in ("single", "pair") or task.kind == OTHERS[name][0]
    assert all(isinstance(text, str) and text for item in task.labels.items() for text in item)
    assert task.steers_away == (name == "qnli")  # the others of two texts show examples of their label


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("scoring", [False, True])
def test_every_label_renders_its_own_prompt(name, scoring):
    task = load_task(name)
    prompts = {label: task.render(label, opening="Some Opening", scoring=scoring) for label in task.labels}
    of_their_own = set(task.labels) - (set() if scoring else set(task.mismatched))
    assert len({prompts[label] for label in of_their_own}) == len(of_their_own)
    for prompt in prompts.values():
        assert prompt.endswith('"')
        assert not re.search(r"[{}]", prompt)
    uses_opening = task.opening is not None and not (scoring and task.kind == "single")
    assert all(("Some Opening" in prompt) == uses_opening for prompt in prompts.values())


@pytest.mark.parametrize("name", NAMES)
def test_scoring_without_an_opening_leaves_no_empty_quotes(name):
    task = load_task(name)
    if task.kind == "single":
        assert '""' not in task.render(task.cells[0], scoring=True)


@pytest.mark.parametrize("name", NAMES)
def test_openings_are_texts_to_be_continued(name):
    opening = load_task(name).opening
    if opening is not None and opening.prompt is not None:
        assert opening.prompt.endswith('"')
        assert not re.search(r"[{}]", opening.prompt)
    if opening is not None:
        assert len(set(opening.values)) == len(opening.values)


@pytest.mark.parametrize(("name", "columns"), PAIRS.items())
def test_pairs_hold_the_given_column_and_name_a_real_corpus(name, columns):
    task = load_task(name)
    assert task.columns == columns
    assert task.generated == columns[1]
    for label in task.labels:
        assert "Some given {text}." in task.render(label, opening="Some given {text}.")
    corpus = task.opening.corpus
    assert task.opening.prompt
    assert (corpus.path, corpus.config, corpus.column) == ("nyu-mll/glue", name, columns[0])
    assert corpus.split == "train"


@pytest.mark.parametrize("name", ["qnli", "qqp", "trec"])
def test_questions_end_with_a_question_mark(name):
    task = load_task(name)
    assert (task.stop, task.ending) == (("?",), "?")


@pytest.mark.parametrize(("name", "label", "words"), POLARITY)
def test_polarity_by_words(name, label, words):
    task = load_task(name)
    assert words in task.render(label, opening="x")
    others = [task.render(other, opening="x") for other in task.labels if other != label]
    assert not any(words in prompt for prompt in others)


@pytest.mark.parametrize(("name", "columns"), [(name, columns) for name, (_, columns) in OTHERS.items()])
def test_other_kinds_are_complete_and_have_the_published_columns(name, columns):
    task = load_task(name)
    shape(task).check(task)
    assert list(shape(task).features(task)) == columns
    for label in task.labels:
        assert re.search(r'"[\w ]*$', task.render(label, opening="Some Opening"))  # a question may be begun


def test_squads_features_are_squads():
    features = shape(load_task("squad")).features(load_task("squad"))
    text = Value("string")
    answers = {"text": List(text), "answer_start": List(Value("int32"))}
    assert features == Features(id=text, title=text, context=text, question=text, answers=answers)


@pytest.mark.parametrize("name", LABELLED)
def test_features_name_the_labels_in_order(name):
    task = load_task(name)
    features = shape(task).features(task)
    assert list(features) == [*task.columns, task.label_column]
    assert all(features[column] == Value("string") for column in task.columns)
    assert features[task.label_column] == ClassLabel(names=list(task.labels))
    assert features[task.label_column].names == list(task.labels)


@pytest.mark.parametrize("name", NAMES)
def test_reference_maps_only_what_the_task_has(name):
    task = load_task(name)
    if task.reference is None:
        assert name in ("nyt", "amazon_product_categories", "reddit", "stackexchange")
        return
    assert set(task.reference.columns) <= set(task.columns)
    assert set(task.reference.labels) <= set(task.labels)
    assert all(ours != theirs for ours, theirs in task.reference.columns.items())
    assert task.reference.path or task.reference.package
    if task.reference.path == "nyu-mll/glue":
        assert task.reference.config == name
        assert task.reference.split == ("validation_matched" if name == "mnli" else "validation")


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("sst2", "vader_movies"),
        ("imdb", "vader_movies"),
        ("rotten_tomatoes", "vader_movies"),
        ("elec", "vader_products"),
        ("amazon_polarity", "vader_products"),
    ],
)
def test_packaged_references_can_be_mapped_by_words(name, package):
    task = load_task(name)
    assert task.reference.package == package
    assert {_side(task, "negative"), _side(task, "positive")} == set(task.labels)
    assert task.labels[_side(task, "negative")] in ("negative", "hated")


@pytest.mark.parametrize("name", NAMES)
def test_file_names_its_source_and_no_method(name):
    text = file_text(name)
    first = text.splitlines()[0]
    assert re.match(r"# Prompts(: \w+ \(https://huggingface\.co/papers/\d{4}\.\d{5}\)| of our own)", first)
    assert all(len(line) <= 119 for line in text.splitlines())
    values = str(yaml.safe_load(text)).lower()
    assert not re.search(r"\b(zerogen|sungen|progen|supergen|fewgen|regen|attrprompt|msp)\b", values)


@pytest.mark.parametrize("name", NAMES)
def test_no_label_was_lost_or_turned_into_something_else_by_yaml(name):
    class Checked(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            assert all(type(key) is str for key in keys), keys
            assert len(set(keys)) == len(keys), keys
            return super().construct_mapping(node, deep)

    labels = yaml.load(file_text(name), Checked)["labels"]
    assert all(type(word) is str for word in (labels if isinstance(labels, list) else labels.values()))


def test_intents_have_phrases_of_their_own():
    for name in ("banking77", "clinc_oos"):
        words = list(load_task(name).labels.values())
        assert len(set(words)) == len(words)
        assert all(" " in phrase and "_" not in phrase for phrase in words)


# --- targets


def test_targets_are_label_names():
    task = load_task("imdb")
    assert task.encode("neg") == "neg"
    for wrong in (0, "negative", "Neg"):
        with pytest.raises(InputError, match="a label of imdb must be one of neg, pos"):
            task.encode(wrong)
    with pytest.raises(InputError, match="Did you mean 'neg'"):
        task.encode("negg")


def test_kind_is_checked_by_who_asks():
    task = load_task("qnli")
    task.needs_kind("single", "pair", what="this")
    with pytest.raises(InputError, match="this is for tasks of kind single, tokens; 'qnli' is of kind 'pair'"):
        task.needs_kind("single", "tokens", what="this")


# --- tasks of one's own


def test_own_task_of_a_few_lines(tmp_path):
    text = """\
description: Is a tweet about the weather or about traffic?
labels: {weather: the weather, traffic: traffic jams}
prompt: 'A tweet about {label}: "'
"""
    task = own_task(tmp_path, text)
    assert task.name == "mine"
    assert task.columns == ("text",)
    assert task.render("traffic") == 'A tweet about traffic jams: "'
    assert task.reference is None
    assert task.language == ()


def test_own_pair_task_of_ten_lines(tmp_path):
    text = """\
name: reply
kind: pair
columns: [message, reply]
language: [en, nl]
labels: {polite: polite, rude: rude}
opening: {prompt: 'A message: "', max_new_tokens: 30}
prompt: "Message: \\"{message}\\"\\nA {label} reply: \\""
debias: false
min_words: 2
reference: {path: me/replies, columns: {reply: answer}, label: tone, labels: {rude: impolite}}
"""
    assert text.count("\n") == 10
    task = own_task(tmp_path, text)
    assert task.name == "reply"
    assert task.render("rude", opening="Hi") == 'Message: "Hi"\nA rude reply: "'
    assert not task.steers_away
    assert task.opening.max_new_tokens == 30
    assert (task.reference.columns, task.reference.label) == ({"reply": "answer"}, "tone")
    assert task.reference.labels == {"rude": "impolite"}


def test_labels_as_a_list_are_their_own_words(tmp_path):
    task = own_task(tmp_path, "labels: [card_lost, greeting]\nprompt: 'About {label}: \"'\n")
    assert task.labels == {"card_lost": "card lost", "greeting": "greeting"}
    assert shape(task).features(task)["label"].names == ["card_lost", "greeting"]


def test_numbers_as_label_names_become_text(tmp_path):
    text = "labels: {1: bad, 2: good}\nprompt: {1: 'worst: \"', 2: 'best: \"'}\nranking: {1: random}\n"
    text += "words: {1: [2, bad], 2: good}\nattributes: {year: [2001, 2002], size: {1: [10], 2: [big]}}\n"
    task = own_task(tmp_path, text + "reference: {path: x/y, labels: {1: 0, 2: 1}}\n")
    assert task.labels == {"1": "bad", "2": "good"}
    assert task.render("2") == 'best: "'
    assert (task.words["1"], task.attributes["year"]) == (("2", "bad"), ("2001", "2002"))
    assert task.attributes["size"]["1"] == ("10",)
    assert task.reference.labels == {"1": "0", "2": "1"}


def test_times_and_codes_are_texts_and_mappings_may_be_merged(tmp_path):
    text = "base: &base {year: [a]}\nlabels: [x, y]\nprompt: '{label}: \"'\n"
    text += "attributes: {<<: *base, time: [12:30, 02134]}\n"
    values = yaml.load(text, Loader=Loader)
    values.pop("base")
    task = parse_task({"name": "t", **values}, "here")
    assert task.attributes == {"year": ("a",), "time": ("12:30", "02134")}
    numbers = yaml.load("[1, -2, 1.5, 1.0e-4, 1e-4, .5, 1_000, true, null, .]", Loader=Loader)
    assert numbers == [1, -2, 1.5, 1e-4, 1e-4, 0.5, 1000, True, None, "."]


def test_one_template_a_label_and_one_string_for_a_list(tmp_path):
    text = """\
labels: [a, b]
columns: tweet
stop: "\\n"
language: nl
prompt: {a: 'First: "', b: 'Second ({label}): "'}
"""
    task = own_task(tmp_path, text, "mine.yml")
    assert (task.columns, task.stop, task.language) == (("tweet",), ("\n",), ("nl",))
    assert [task.render(label) for label in task.labels] == ['First: "', 'Second (b): "']


def test_doubled_braces_are_braces(tmp_path):
    task = own_task(tmp_path, "labels: [a, b]\nprompt: '{{json}} {label}: \"'\n")
    assert task.render("a") == '{json} a: "'


def test_span_and_set_tasks_have_features(tmp_path):
    spans = own_task(tmp_path, "kind: tokens\ncolumns: tokens\nlabels: [gene, drug]\nprompt: '{label}: \"'\n")
    assert shape(spans).features(spans)["label"].feature.names == ["O", "B-gene", "I-gene", "B-drug", "I-drug"]
    sets = own_task(tmp_path, "kind: multi_label\nlabels: [x, y]\nprompt: '{label}: \"'\n", "sets.yaml")
    assert shape(sets).features(sets)["label"].feature.names == ["x", "y"]


def test_a_task_cannot_be_changed():
    with pytest.raises(AttributeError):
        load_task("imdb").name = "other"


# --- what is refused: the sentence names the file, the key, the value, what is allowed, the nearest name

GOOD = {"labels": ["good", "bad"], "prompt": 'A {label} text: "'}
REFUSED = {
    "unknown key": ({"promt": "x"}, ["one of name, labels, prompt,", "'promt'", "Did you mean 'prompt'?"]),
    "unknown key, none near": ({"zzz": 1}, ["one of name, labels, prompt,", "got 'zzz'."]),
    "number for a list": ({"columns": 3}, ["`columns`", "valid list", "got 3"]),
    "number for the stop strings": ({"stop": 7}, ["`stop`", "valid list", "got 7"]),
    "number for the labels": ({"labels": 3}, ["`labels`", "got 3"]),
    "text for a number": ({"min_words": "many"}, ["`min_words`", "integer", "got 'many'"]),
    "fraction for a number": ({"max_new_tokens": 2.5}, ["`max_new_tokens`", "integer", "got 2.5"]),
    "too small a number": ({"min_words": 0}, ["`min_words`", "greater than or equal to 1", "got 0"]),
    "text for yes or no": ({"chat": "perhaps"}, ["`chat`", "boolean", "got 'perhaps'"]),
    "unknown kind": (
        {"kind": "singel"},
        ["`kind`", "'single', 'pair',", "'qa' or 'parse'", "got 'singel'", "Did you mean 'single'?"],
    ),
    "one label": ({"labels": ["good"]}, ["`labels`", "two names or more", "['good']"]),
    "an empty label": ({"labels": ["good", " "]}, ["`labels`: a name is empty"]),
    "the same label as number and text": ({"labels": {1: "bad", "1": "good", 2: "x"}}, ["names a label twice"]),
    "a path for a name": ({"name": "../evil"}, ["`name` becomes part of folders' names", "got '../evil'"]),
    "a column without a name": ({"columns": [""]}, ["columns need names of their own"]),
    "no labels": ({"labels": None}, ["`labels`", "got None"]),
    "template without a label": ({"prompt": {"good": 'x "'}}, ["`prompt`", "no template for the label 'bad'"]),
    "template for no label": (
        {"prompt": {"good": 'x "', "bad": 'y "', "goood": 'z "'}},
        ["`prompt`", "a label must be one of good, bad", "'goood'", "Did you mean 'good'?"],
    ),
    "unknown slot": (
        {"prompt": 'A {labl} text: "'},
        ["`prompt`", "a slot must be one of label", "'labl'", "Did you mean 'label'?"],
    ),
    "slot without a name": ({"prompt": '{label} {} "'}, ["`prompt`", "one of label", "got ''"]),
    "attribute of a slot": ({"prompt": '{label.upper} "'}, ["`prompt`", "'label.upper'", "Did you mean 'label'?"]),
    "opening slot without an opening": ({"prompt": '{opening} {label} "'}, ["`prompt`", "one of label", "'opening'"]),
    "unknown slot for scoring": ({"score_prompt": '{labl} "'}, ["`score_prompt`", "one of label", "'labl'"]),
    "brace that is not closed": ({"prompt": 'A {label text: "'}, ["`prompt`", "A {label text", "{{ for a brace"]),
    "brace that is not opened": ({"prompt": 'A label} text: "'}, ["`prompt`", "A label} text", "{{ for a brace"]),
    "prompt that is a list": ({"prompt": ["x"]}, ["`prompt", "got ['x']"]),
    "unknown key of the opening": (
        {"opening": {"prompt": 'x "', "max_tokens": 3}},
        ["opening:", "one of prompt, values, corpus,", "'max_tokens'", "Did you mean 'max_new_tokens'?"],
    ),
    "empty opening": ({"opening": {"min_words": 2}}, ["`opening` needs one of `prompt`, `values`, `corpus`"]),
    "text for an opening": ({"opening": 'Movie: "'}, ["`opening`", "mapping", "Movie"]),
    "unknown key of the reference": (
        {"reference": {"pth": "x"}},
        ["reference:", "one of path, config, split,", "'pth'", "Did you mean 'path'?"],
    ),
    "unknown package": (
        {"reference": {"package": "vader_movie"}},
        ["`package`", "'vader_movies' or 'vader_products'", "'vader_movie'", "Did you mean 'vader_movies'?"],
    ),
    "pair with one column": (
        {"kind": "pair", "opening": {"prompt": 'x "'}},
        ["pair task has 2 text column(s)", "['text']"],
    ),
    "pair without an opening": ({"kind": "pair", "columns": ["a", "b"]}, ["pair task needs an `opening`"]),
    "a given column that takes the label's place": (
        {"kind": "pair", "columns": ["label", "text"], "label_column": "is", "opening": {"prompt": 'x "'}},
        ["'label' means something else in prompts: call the column or mark otherwise"],
    ),
    "a given column that takes the word's place": (
        {
            "kind": "pair",
            "columns": ["word", "text"],
            "words": {"good": "a", "bad": "b"},
            "opening": {"prompt": 'x "'},
        },
        ["'word' means something else in prompts"],
    ),
    "a mark that would open texts": (
        {"kind": "relation", "marks": {"start word": "@A$", "b": "@B$"}},
        ["'start word' means something else in prompts"],
    ),
    "texts without a label where each has one": (
        {"empty": 'No label: "'},
        ["`empty` is for tasks of kind multi_label"],
    ),
    "a label that means none": (
        {"kind": "multi_label", "labels": ["none", "good"], "prompt": '{mentions} "'},
        ["`labels`: 'none' is what texts without a label are counted as"],
    ),
    "self-debiasing of prompts that differ in more than the label": (
        {"kind": "multi_label", "prompt": '{mentions} "', "debias": True},
        ["`debias: true` is for tasks of kind single, pair", "'mine' is of kind 'multi_label'"],
    ),
    "two columns for one text": ({"columns": ["a", "b"]}, ["single task has 1 text column(s)", "['a', 'b']"]),
}


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        load_task(str(path))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("case", REFUSED)
def test_bad_task_is_refused_in_one_sentence(case, tmp_path):
    change, fragments = REFUSED[case]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(GOOD | change), encoding="utf-8")
    message = refusal(path)
    assert "mine.yaml" in message
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize("key", ["labels", "prompt"])
def test_missing_key_is_named(key, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in GOOD.items() if k != key}), encoding="utf-8")
    assert f"`{key}` is missing" in refusal(path)


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"labels: [a,\nprompt: {", "is not valid YAML at line 2"),
        (b"labels: a: b", "is not valid YAML at line 1"),
        (b"labels:\n  good: x\n  bad: y\n  good: z", "is not valid YAML at line 4: 'good' stands twice"),
        (b"labels: \xff\xfe", "is not valid YAML"),
        (b"- labels\n- prompt\n", "must hold `key: value` lines; got list"),
        (b"just words", "must hold `key: value` lines; got str"),
        (b"", "must hold `key: value` lines; got NoneType"),
    ],
)
def test_bad_file_is_refused_by_name(content, fragment, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    message = refusal(path)
    assert fragment in message
    assert "mine.yaml" in message


def test_missing_file_and_folder(tmp_path):
    assert "No such file" in refusal(tmp_path / "absent.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert "folder.yaml" in refusal(tmp_path / "folder.yaml")
    with pytest.raises(InputError, match="absent.yml"):
        read_yaml(tmp_path / "absent.yml")


@pytest.mark.parametrize(("wrong", "near"), [("imbd", "imdb"), ("agnews", "ag_news"), ("clinc", "clinc_oos")])
def test_unknown_task_names_the_nearest(wrong, near):
    message = refusal(wrong)
    assert all(name in message for name in NAMES)
    assert f"got '{wrong}'. Did you mean '{near}'?" in message
    assert ".yaml" in message
