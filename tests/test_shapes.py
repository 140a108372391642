"""Kinds of task beyond one label: what is asked, how answers are read and dropped, what is stored."""

import json
import random
import re
from collections import Counter

import pytest
from datasets import ClassLabel, List, Value, load_dataset

from hf_synth.errors import InputError
from hf_synth.folder import write_folder
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.produce import Plan, facts
from hf_synth.records import Completion, Prompt
from hf_synth.run import Run
from hf_synth.settings import SynthConfig
from hf_synth.shapes import shape
from hf_synth.tasks import load_task
from hf_synth.work import Work

SETS = """
kind: multi_label
labels: {rain: rain, wind: wind, sun: sun}
prompt: 'A message about {mentions}: "'
together: [[rain, wind]]
mentions: [1, 2]
empty: 'A greeting: "'
min_words: 1
"""
ENTITIES = """
kind: tokens
columns: tokens
label_column: tags
labels: {Drug: a drug, Disease: a disease}
words: {Drug: [aspirin, vitamin C], Disease: [gout, lung cancer, AS]}
mentions: [1, 2]
prompt: 'A sentence with {mentions}: "'
empty: 'A sentence about numbers: "'
"""
RELATION = """
kind: relation
columns: sentence
labels: {linked: linked, apart: not linked}
marks: {gene: '@GENE$', disease: '@DISEASE$'}
attributes: {gene: [BRCA1, TP53], disease: {linked: [cancer], apart: [mutation, gene mutation]}}
prompt: '{gene} and {disease} are {label}: "'
min_words: 2
"""


def own(tmp_path, text):
    (tmp_path / "own.yaml").write_text(text)
    task = load_task(str(tmp_path / "own.yaml"))
    shape(task).check(task)
    return task


def first_prompts(task, cell, count=50):
    stream = shape(task).prompts(task, cell, iter([""] * count), random.Random(0))
    return list(stream)


def read(task, prompt, text, finish="stop"):
    return shape(task).parser(task)(prompt, Completion(text, -1.0, 5, finish))


def dataset_of(tmp_path, task, answer, rows):
    """Generate with a scripted generator and load the folder as a user does."""
    plan = Plan.of(SynthConfig(task=str(tmp_path / "own.yaml"), num_rows=rows))
    run = Run(task, ScriptedGenerator(answer), num_rows=rows)
    work = Work(tmp_path / "work", run)
    written = work.write(plan.method.generate(run, plan.method_config))
    write_folder(tmp_path / "work", tmp_path / "data", task, facts(plan, run, written))
    data = load_dataset(str(tmp_path / "data"))
    return data, run


# --- sets of labels


def test_a_label_is_asked_for_with_those_that_go_with_it(tmp_path):
    task = own(tmp_path, SETS)
    asked = Counter(prompt.attributes["labels"] for prompt in first_prompts(task, "rain"))
    assert set(asked) == {"rain", "rain; wind", "wind; rain"}  # never with the sun
    assert {prompt.text for prompt in first_prompts(task, "rain")} >= {'A message about rain and wind: "'}
    assert {prompt.attributes["labels"] for prompt in first_prompts(task, "none")} == {""}


def test_each_label_has_its_budget_and_the_rows_load_as_sets(tmp_path):
    task = own(tmp_path, SETS)
    data, run = dataset_of(tmp_path, task, lambda prompt, rng: f'text {rng.random()}"', 40)
    rows = [row for split in data.values() for row in split]
    feature = data["train"].features["label"]
    assert isinstance(feature, List)
    assert isinstance(feature.feature, ClassLabel)
    sets = Counter(tuple(feature.feature.names[at] for at in row["label"]) for row in rows)
    assert sets[()] == 10
    assert {("rain",), ("rain", "wind"), ("wind",), ()} <= set(sets)
    assert len(rows) == 40
    assert run.targets() == {"rain": 10, "wind": 10, "sun": 10, "none": 10}
    card = (tmp_path / "data" / "README.md").read_text()
    counted = Counter(
        name for row in rows for name in ([feature.feature.names[at] for at in row["label"]] or ["none"])
    )
    ledger = json.loads((tmp_path / "data" / "hf_synth" / "facts.json").read_text())["labels"]
    assert {cell: sum(ledger[split][cell] for split in ledger) for cell in task.cells} == counted
    assert "| split | rain | wind | sun | none |" in card


def test_more_labels_than_there_are_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"`mentions` must lie between 1 and 3, least first; got \[1, 4\]"):
        own(tmp_path, SETS.replace("[1, 2]", "[1, 4]"))
    with pytest.raises(InputError, match="`together`: a label must be one of rain, wind, sun; got 'hail'"):
        own(tmp_path, SETS.replace("[[rain, wind]]", "[[rain, hail]]"))


# --- entities


def asked_for(names, cell="Drug"):
    return Prompt("x", cell=cell, attributes={"entities": json.dumps(names)})


def test_names_that_were_asked_for_and_all_others_that_occur_are_tagged(tmp_path):
    task = own(tmp_path, ENTITIES)
    found = read(task, asked_for({"aspirin": "Drug"}), "Aspirin, not vitamin C, helps in lung cancer.")
    assert found.fields["tokens"].split() == [
        "Aspirin",
        ",",
        "not",
        "vitamin",
        "C",
        ",",
        "helps",
        "in",
        "lung",
        "cancer",
        ".",
    ]
    assert found.target == ("B-Drug", "O", "O", "B-Drug", "I-Drug", "O", "O", "O", "B-Disease", "I-Disease", "O")


@pytest.mark.parametrize(
    ("names", "cell", "text", "reason"),
    [
        ({"aspirin": "Drug"}, "Drug", "It helps in lung cancer now.", "entity missing"),
        ({"lung cancer": "Disease", "cancer": "Disease"}, "Disease", "He has lung cancer now.", "entities overlap"),
        ({"aspirin": "Drug"}, "Drug", "No aspirin", "short"),
        ({}, "none", "There were 12 cases of gout.", "entity there"),
        ({"aspirin": "Drug"}, "Drug", " ", "unfinished"),
    ],
)
def test_what_cannot_be_aligned_is_dropped_with_its_reason(tmp_path, names, cell, text, reason):
    assert read(own(tmp_path, ENTITIES), asked_for(names, cell), text) == reason


@pytest.mark.parametrize(
    "words", ["फ़िल्म दिल्ली में बनी", "می\u200cخواهم به تهران بروم", "der Mu\u0308ller aus Ko\u0308ln"]
)
def test_words_stay_whole_at_vowel_signs_and_accents_of_their_own(tmp_path, words):
    name = words.split()[1]
    found = read(own(tmp_path, ENTITIES), asked_for({name: "Drug"}), words)
    assert found.fields["tokens"] == words
    assert found.target == tuple("B-Drug" if word == name else "O" for word in words.split())


def test_short_names_must_be_spelt_as_they_stand(tmp_path):
    task = own(tmp_path, ENTITIES.replace("lung cancer, AS", "lung cancer, AS, Go, Go rash, tic"))
    found = read(task, asked_for({"gout": "Disease"}, "Disease"), "As gout is not AS at all.")
    assert found.target == ("O", "B-Disease", "O", "O", "B-Disease", "O", "O", "O")
    found = read(task, asked_for({"AS": "Disease"}, "Disease"), "It is AS as before.")
    assert found.target == ("O", "O", "B-Disease", "O", "O", "O")
    assert read(task, asked_for({"AS": "Disease"}, "Disease"), "It is as before.") == "entity missing"
    found = read(task, asked_for({"tic": "Disease"}, "Disease"), "Tic or Go may go, go rash not.")
    assert found.target == ("B-Disease", "O", "B-Disease", "O", "O", "O", "B-Disease", "I-Disease", "O", "O")


def test_where_names_cross_it_is_not_known_which_is_meant(tmp_path):
    task, both = own(tmp_path, ENTITIES), {"bad lung": "Disease", "lung pill": "Drug"}
    assert read(task, asked_for(both), "A bad lung pill is no lung pill.") == "entities overlap"
    found = read(task, asked_for({"bad lung": "Disease", "lung": "Drug"}), "A bad lung is a lung.")
    assert found.target == ("O", "B-Disease", "I-Disease", "O", "O", "B-Drug", "O")


MARKUP = [
    (
        "He took <Drug>aspirin</Drug> for <Disease>a bad knee</Disease>.",
        ("B-Drug", "B-Disease", "I-Disease", "I-Disease"),
    ),
    ("He took <Drug>aspirin for gout.", "unclosed"),
    ("He took <Pill>aspirin</Pill> for gout.", "unknown label"),
    ("He took <Drug>as <Disease>gout</Disease></Drug> says.", "nested"),
    ("He took <Drug></Drug> for it all.", "empty span"),
    ("He took <Drug>aspirin</Disease> for it.", "unclosed"),
    ("He took nothing at all that day.", "no entity"),
    ("He had <Disease>gout< /Disease> and <Drug>pain</Disease>.", "unclosed"),
    ("The <Drug aspirin <Disease>gout</Disease> was it.", "unclosed"),
    ("He took <Drug>aspirin</Drug> and </more.", "unclosed"),
    ("At p < 0.05 he took <Drug>aspirin</Drug> with n < 3 and > 1.", ("B-Drug",)),
    ("He had <Disease>bad knees</Disease> that day.", "other entity"),
]


@pytest.mark.parametrize(("text", "said"), MARKUP)
def test_markup_is_read_whole_or_not_at_all(tmp_path, text, said):
    task = own(tmp_path, ENTITIES + "annotate: markup\n")
    found = read(task, asked_for({}), text)
    assert (found if isinstance(found, str) else tuple(tag for tag in found.target if tag != "O")) == said


PILL = {"text": "lung pill", "type": "Drug"}
JSON = [
    ({"text": "He took aspirin", "entities": [{"text": "aspirin", "type": "Drug"}]}, ("O", "O", "B-Drug")),
    ({"text": "He took aspirin", "entities": [{"text": "ibuprofen", "type": "Drug"}]}, "not in text"),
    ({"text": "He took aspirin", "entities": [{"text": "aspirin", "type": "Pill"}]}, "unknown label"),
    ({"text": "He took aspirin", "entities": ["aspirin"]}, "other keys"),
    ({"sentence": "He took aspirin"}, "other keys"),
    (
        {
            "text": "He took aspirin",
            "entities": [{"text": "aspirin", "type": "Drug"}, {"text": "aspirin", "type": "Disease"}],
        },
        "two labels",
    ),
    (
        {"text": "He took aspirin\ud83d", "entities": [{"text": "aspirin\ud83d", "type": "Drug"}]},  # half an emoji
        ("O", "O", "B-Drug"),
    ),
    ("He took aspirin.", "no json"),
    (
        {"text": "A bad lung pill", "entities": [{"text": "bad lung", "type": "Disease"}, PILL]},
        "entities overlap",
    ),
    (
        {"text": "A lung pill", "entities": [PILL, {"text": "pill", "type": "Drug"}]},
        "entities overlap",
    ),
    ({"text": "A lung pill", "entities": [PILL, PILL | {"text": "Lung pill"}]}, ("O", "B-Drug", "I-Drug")),
    ({"text": "It is as bad", "entities": [{"text": "AS", "type": "Disease"}]}, "not in text"),
    ({"text": "It is a Foo", "entities": [{"text": "Foo", "type": "Disease"}]}, "other entity"),
]


@pytest.mark.parametrize(
    ("how", "text", "reason"),
    [
        ("markup", "A <Disease>Foo</Disease> is there.", "entity there"),
        ("markup", "A <Disease>Foo is there.", "unclosed"),
        ("json", '{"text": "A Foo is there", "entities": [{"text": "Foo", "type": "Disease"}]}', "entity there"),
        ("json", '{"text": "A Foo is there"', "no json"),
    ],
)
def test_a_text_without_entities_is_read_as_the_others_are(tmp_path, how, text, reason):
    task = own(tmp_path, ENTITIES + f"annotate: {how}\n")
    assert read(task, asked_for({}, "none"), text) == reason
    assert set(read(task, asked_for({}, "none"), "There were 12 cases.").target) == {"O"}


@pytest.mark.parametrize(("answer", "said"), JSON)
def test_json_is_read_by_its_schema_or_not_at_all(tmp_path, answer, said):
    task = own(tmp_path, ENTITIES + 'annotate: json\nstop: "\\n"\n')
    text = answer if isinstance(answer, str) else "Here you are: " + json.dumps(answer)
    found = read(task, asked_for({}), text)
    assert (found if isinstance(found, str) else found.target) == said


def test_entities_load_as_tokens_and_tags_and_none_have_their_budget(tmp_path):
    task = own(tmp_path, ENTITIES)

    def answer(prompt, rng):
        names = " and ".join(json.loads(prompt.attributes["entities"]))
        return f'There were {rng.randrange(10**6)} cases {names} here." '

    data, _ = dataset_of(tmp_path, task, answer, 30)
    names = data["train"].features["tags"].feature.names
    assert names == ["O", "B-Drug", "I-Drug", "B-Disease", "I-Disease"]
    assert data["train"].features["tokens"] == List(Value("string"))
    rows = [row for split in data.values() for row in split]
    assert all(len(row["tokens"]) == len(row["tags"]) for row in rows)
    assert sum(not any(row["tags"]) for row in rows) == 10
    spelt = {
        " ".join(token for token, tag in zip(row["tokens"], row["tags"], strict=True) if names[tag].endswith("Drug"))
        for row in rows
    }
    assert {"aspirin", "vitamin C"} <= spelt


def test_a_task_of_tokens_needs_names(tmp_path):
    bare = "kind: tokens\ncolumns: tokens\nlabels: [gene]\nprompt: '{mentions}: \"'\n"
    with pytest.raises(InputError, match=r"a tokens task needs `words`: names of entities for each of \['gene'\]"):
        own(tmp_path, bare)


# --- relations


def test_marks_stand_in_place_of_what_was_asked_for(tmp_path):
    task = own(tmp_path, RELATION)
    prompt = Prompt("x", cell="linked", attributes={"gene": "BRCA1", "disease": "cancer"})
    found = read(task, prompt, "The brca1 gene leads to cancer.")
    assert found.fields == {"sentence": "The @GENE$ gene leads to @DISEASE$."}
    assert found.target == "linked"
    nested = Prompt("x", cell="apart", attributes={"gene": "TP53", "disease": "gene mutation"})
    assert read(task, nested, "A gene mutation of TP53.").fields["sentence"] == "A @DISEASE$ of @GENE$."


def test_values_are_looked_for_in_the_text_and_not_in_a_mark(tmp_path):
    """And each in its own place: the gene of this name also stands within the disease."""
    task = own(tmp_path, RELATION)
    prompt = Prompt("x", cell="linked", attributes={"gene": "gene", "disease": "cancer"})
    assert read(task, prompt, "This gene leads to cancer.").fields["sentence"] == "This @GENE$ leads to @DISEASE$."
    prompt = Prompt("x", cell="linked", attributes={"gene": "disease", "disease": "a long cancer"})
    assert read(task, prompt, "It leads to a long cancer.") == "no gene"
    prompt = Prompt("x", cell="linked", attributes={"gene": "BRCA1", "disease": "BRCA1 cancer"})
    assert read(task, prompt, "BRCA1 cancer and BRCA1.").fields["sentence"] == "@DISEASE$ and @GENE$."


def test_the_two_that_are_marked_differ(tmp_path):
    values = "attributes: {gene: [tau, Abl], disease: {linked: [Tau, abl, gout], apart: [mutation]}}\n"
    task = own(tmp_path, RELATION.partition("attributes:")[0] + values + RELATION.partition("}}\n")[2])
    for prompt in first_prompts(task, "linked"):
        assert prompt.attributes["gene"].casefold() != prompt.attributes["disease"].casefold()


def test_relations_load_as_texts_and_labels(tmp_path):
    task = own(tmp_path, RELATION)

    def answer(prompt, rng):
        return f'{prompt.attributes["gene"]} leads {rng.random()} to {prompt.attributes["disease"]}"'

    data, _ = dataset_of(tmp_path, task, answer, 8)
    assert data["train"].features["sentence"] == Value("string")
    assert data["train"].features["label"] == ClassLabel(names=["linked", "apart"])
    assert all("@GENE$ leads" in row["sentence"] for split in data.values() for row in split)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The gene leads to cancer.", "no gene"),
        ("BRCA1 leads to cancer, as @Gene$ does.", "mark there"),
        ("BRCA1 and BRCA1 lead to cancer.", "gene twice"),
        ("BRCA1 is a gene.", "no disease"),
        ("BRCA12 leads to cancer.", "no gene"),
        ("BRCA1", "short"),
    ],
)
def test_texts_without_both_marks_once_are_dropped(tmp_path, text, reason):
    prompt = Prompt("x", cell="linked", attributes={"gene": "BRCA1", "disease": "cancer"})
    assert read(own(tmp_path, RELATION), prompt, text) == reason


def test_first_words_may_name_what_is_marked(tmp_path):
    """They stand in the prompt, with this prompt's gene, and are a part of the text that is read."""
    task = own(tmp_path, RELATION + "starts: ['The {gene} gene', Although]")
    asked = first_prompts(task, "linked")
    for prompt in asked:
        start = prompt.attributes["start word"]
        assert start in (f"The {prompt.attributes['gene']} gene", "Although")
        assert prompt.text.endswith(f': "{start}')
    named = next(prompt for prompt in asked if prompt.attributes["start word"] == "The BRCA1 gene")
    rest = f" leads to {named.attributes['disease']}."
    assert read(task, named, rest).fields["sentence"] == "The @GENE$ gene leads to @DISEASE$."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (RELATION + "starts: ['The {genes} gene']", "`starts`: a slot must be one of gene, disease"),
        (ENTITIES + "starts: [The]", "`starts` is for tasks of kind single, pair, relation; this one is"),
    ],
)
def test_first_words_that_nothing_would_write_are_refused(tmp_path, text, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        own(tmp_path, text)


def test_values_of_a_mark_may_depend_on_the_label(tmp_path):
    task = own(tmp_path, RELATION)
    assert {prompt.attributes["disease"] for prompt in first_prompts(task, "linked")} == {"cancer"}
    assert {prompt.attributes["disease"] for prompt in first_prompts(task, "apart")} == {"mutation", "gene mutation"}
    with pytest.raises(InputError, match="'gene' needs values for 'linked' under `attributes.gene`"):
        own(tmp_path, RELATION.replace("gene: [BRCA1, TP53], ", ""))
    with pytest.raises(InputError, match="needs two `marks`"):
        own(
            tmp_path, RELATION.replace(", disease: '@DISEASE$'}", "}").replace("{gene} and {disease} are", "{gene} is")
        )


# --- questions

QUESTIONS = """
kind: qa
columns: [context, question]
label_column: answers
labels: {name: a name, date: a date}
opening: {values: ["Ada Lovelace wrote programs in 1843. She was born here.", "nothing is here at all"]}
words: {name: [Who], date: [When, In what year]}
prompt: '{cloze} | {sentence} | {answer} | {word}'
stop: '?'
ending: '?'
"""


def test_answers_are_found_first_and_asked_for_in_their_sentence(tmp_path):
    task = own(tmp_path, QUESTIONS)
    prompts = shape(task).prompts(task, "date", iter(list(task.opening.values) * 20), random.Random(0))
    texts = {prompt.text for prompt in prompts}
    sentence, gap = "Ada Lovelace wrote programs in 1843.", "Ada Lovelace wrote programs in ___."
    assert texts == {f"{gap} | {sentence} | 1843 | {word}" for word in ("When", "In what year")}


def test_a_corpus_without_answers_of_a_kind_ends(tmp_path):
    task = own(tmp_path, QUESTIONS)
    endless = iter(lambda: "nothing is here at all", None)
    assert list(shape(task).prompts(task, "date", endless, random.Random(0))) == []


def test_an_answer_is_whole_words(tmp_path):
    """`art` is left in `part`, in the gap of a statement and where a question gives it away."""
    task = load_task("squad")
    context = "The role of art in a part of the old government was small, Art said."
    asked = shape(task).prompts(task, "phrase", [context] * 40, random.Random(0))
    prompt = next(one for one in asked if one.attributes["answer"] == "art")
    assert '"The role of ___ in a part of the old government was small, Art said."' in prompt.text
    found = read(task, prompt, " had a small role in a part of the old government")
    assert found.fields["question"].endswith("role in a part of the old government?")


def asking(word="When"):
    sentence = "Ada Lovelace wrote programs in 1843."
    attributes = {"answer": "1843", "start": str(sentence.index("1843")), "kind": "date", "sentence": sentence}
    return Prompt("x", cell="date", given={"context": "…"}, attributes={**attributes, "start word": word})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" did Ada Lovelace write programs", "When did Ada Lovelace write programs?"),
        (" did Ada Lovelace write in 1843", "gives answer away"),
        (" did Columbus discover America", "off context"),
        (' was Lovelace born"\nWho was Lovelace', "unfinished"),
        (' was "Lovelace born', "unfinished"),
        (" now", "short"),
    ],
)
def test_questions_that_cannot_be_right_are_dropped(tmp_path, text, said):
    found = read(own(tmp_path, QUESTIONS), asking(), text)
    if isinstance(found, str):
        assert found == said
    else:
        assert found.fields["question"] == said
        assert found.target == {"text": ["1843"], "answer_start": [31]}


@pytest.mark.parametrize(("answer", "said"), [("New\n York", "New York"), ("the  Big", "the Big")])
def test_an_answer_that_a_line_break_parts_is_given_away_all_the_same(tmp_path, answer, said):
    context = f"Programs were written in {answer} Apple."
    attributes = {"answer": answer, "start": "25", "kind": "name", "sentence": context, "start word": "Who"}
    prompt = Prompt("x", cell="name", given={"context": context}, attributes=attributes)
    assert read(own(tmp_path, QUESTIONS), prompt, f" wrote programs in {said}") == "gives answer away"


def test_questions_load_as_squad_does(tmp_path):
    task = own(tmp_path, QUESTIONS)

    def answer(prompt, rng):
        return f" wrote programs, number {rng.randrange(10**6)}?"

    data, run = dataset_of(tmp_path, task, answer, 12)
    assert list(data["train"].features)[:5] == ["id", "title", "context", "question", "answers"]
    assert data["train"].features["answers"] == {"text": List(Value("string")), "answer_start": List(Value("int32"))}
    for split in data.values():
        for row in split:
            (text,), (start,) = row["answers"]["text"], row["answers"]["answer_start"]
            assert row["context"][start : start + len(text)] == text
    assert len({row["id"] for split in data.values() for row in split}) == 12
    facts_file = json.loads((tmp_path / "data" / "hf_synth" / "facts.json").read_text())
    assert sum(facts_file["labels"][split]["date"] for split in facts_file["labels"]) == 6
    assert run.ledger.stage("rows").kept == 12


def test_kinds_that_rules_do_not_find_are_refused(tmp_path):
    with pytest.raises(
        InputError, match="kinds of answers that rules find, date, quote, name, number, phrase; got 'person'"
    ):
        own(tmp_path, QUESTIONS.replace("name: a name", "person: a name").replace("name: [Who]", "person: [Who]"))


def test_a_trained_student_may_find_the_answers(tmp_path, monkeypatch):
    from hf_synth import candidates

    found = {"Ada Lovelace wrote programs in 1843. She was born here.": [candidates.Candidate(0, 12, "person")]}
    monkeypatch.setattr(candidates, "by_student", lambda folder, texts: [found.get(text, []) for text in texts])
    text = QUESTIONS.replace("name: a name, date: a date", "person: a person").replace(
        "name: [Who], date: [When, In what year]", "person: [Who]"
    )
    task = own(tmp_path, text + "finder: some/folder\n")
    prompt = next(shape(task).prompts(task, "person", iter(task.opening.values), random.Random(0)))
    assert prompt.attributes["answer"] == "Ada Lovelace"


# --- requests

REQUESTS = """
kind: parse
columns: utterance
label_column: parse
labels: {"IN:GET_WEATHER": hear the weather, "IN:GET_SUNSET": hear when the sun sets}
attributes:
  "SL:LOCATION": {"IN:GET_WEATHER": [Rome, "[IN:GET_LOCATION [SL:LOCATION_USER here ] ]"], "IN:GET_SUNSET": [Oslo]}
  "SL:DATE_TIME": {"IN:GET_WEATHER": [on Friday]}
mentions: [1, 2]
prompt: 'To {label}, with {mentions}: "'
"""


def test_an_intent_is_asked_for_with_values_of_slots_that_it_takes(tmp_path):
    task = own(tmp_path, REQUESTS)
    asked = {prompt.text for prompt in first_prompts(task, "IN:GET_SUNSET")}
    assert asked == {'To hear when the sun sets, with "Oslo": "'}
    asked = {prompt.text for prompt in first_prompts(task, "IN:GET_WEATHER")}
    assert 'To hear the weather, with "here" and "on Friday": "' in asked


@pytest.mark.parametrize(
    ("slots", "text", "said"),
    [
        ({"SL:LOCATION": "Rome"}, "Is it hot in Rome?", "[IN:GET_WEATHER Is it hot in [SL:LOCATION Rome ] ? ]"),
        (
            {"SL:LOCATION": "[IN:GET_LOCATION [SL:LOCATION_USER here ] ]"},
            "Will it rain here",
            "[IN:GET_WEATHER Will it rain [SL:LOCATION [IN:GET_LOCATION [SL:LOCATION_USER here ] ] ] ]",
        ),
        ({"SL:LOCATION": "Rome"}, "Is it hot in Paris?", "slot missing"),
        ({"SL:LOCATION": "Rome"}, "From Rome to Rome", "slot twice"),
        (
            {"SL:LOCATION": "Rome"},
            "Is it hot in Rome on Friday?",
            "[IN:GET_WEATHER Is it hot in [SL:LOCATION Rome ] [SL:DATE_TIME on Friday ] ? ]",
        ),
        ({"SL:LOCATION": "Rome"}, "Is it hot in Rome or here?", "slot unasked"),
        ({"SL:LOCATION": "Rome"}, "Is it hot in Rome at 9:30?", "slot unasked"),
        ({"SL:LOCATION": "Rome"}, "Rome?", "short"),
    ],
)
def test_a_parse_is_composed_or_the_text_is_dropped(tmp_path, slots, text, said):
    prompt = Prompt("x", cell="IN:GET_WEATHER", attributes={"slots": json.dumps(slots)})
    found = read(own(tmp_path, REQUESTS), prompt, text)
    assert (found if isinstance(found, str) else found.target) == said


def test_a_request_that_repeats_an_example_is_an_echo(tmp_path):
    shown = REQUESTS.replace("'To {label}", '\'With "Rome": "Is it hot in Rome?" To {label}')
    prompt = Prompt("x", cell="IN:GET_WEATHER", attributes={"slots": json.dumps({"SL:LOCATION": "Rome"})})
    assert read(own(tmp_path, shown), prompt, "is it hot in Rome") == "echo"
    assert not isinstance(read(own(tmp_path, shown), prompt, "is it warm in Rome"), str)


def test_requests_load_as_published(tmp_path):
    task = own(tmp_path, REQUESTS)

    def answer(prompt, rng):
        from hf_synth.trees import spoken

        words = " ".join(spoken(value) for value in json.loads(prompt.attributes["slots"]).values())
        return f'say {"".join(rng.choices("abcdefgh", k=8))} now {words}"'

    data, _ = dataset_of(tmp_path, task, answer, 10)
    rows = [row for split in data.values() for row in split]
    assert {row["parse"].split()[0] for row in rows} == {"[IN:GET_WEATHER", "[IN:GET_SUNSET"}
    kept = [" ".join(w for w in row["parse"].split() if w != "]" and w[0] != "[") for row in rows]
    assert kept == [row["utterance"] for row in rows]


def test_values_that_are_no_brackets_are_refused(tmp_path):
    with pytest.raises(InputError, match="`attributes.SL:LOCATION`, IN:GET_SUNSET: unbalanced brackets in"):
        own(tmp_path, REQUESTS.replace("[Oslo]", '["[IN:GET_LOCATION Oslo"]'))
