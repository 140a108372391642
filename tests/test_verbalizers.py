"""Words for labels: which are taken, from where, and that prompts, card and journal hold them."""

import itertools
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import WORDS
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from hf_synth.errors import InputError
from hf_synth.folder import write_folder
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.produce import Plan, produce
from hf_synth.prototypes import fit_prototypes, info_nce
from hf_synth.retrieval.encode import Encoder
from hf_synth.settings import BackendConfig, SynthConfig
from hf_synth.task import Corpus
from hf_synth.tasks import load_task
from hf_synth.verbalizers import chosen, corpus_words, listed, rewritten, vocabulary

LISTS = {"negative": "dull, bad, slow, good,", "positive": "1. Fine\n2. good (very)\n3. bad\n4. bright"}


class Asked(ScriptedGenerator):
    """Lists words, writes reviews, and keeps what it is asked."""

    def __init__(self):
        self.prompts = []
        super().__init__(self.answer, name="lists and reviews")

    def answer(self, prompt, rng):
        if prompt.text.startswith("Words close"):
            if prompt.cell is not None:  # a generator tuned for each label writes a row of it
                return "a row"
            return "..." if rng.random() < 0.2 else LISTS[prompt.attributes["label"]]
        if prompt.cell is None:
            return f'Title {rng.randrange(10**6)}"'
        side = {"positive": "good great fine", "negative": "bad awful dull"}[prompt.cell].split()
        return " ".join(rng.choices(WORDS, k=6) + rng.choices(side, k=3)) + '"'

    def complete(self, prompts, **settings):
        self.prompts += prompts
        return super().complete(prompts, **settings)


def made(folder, generator=None, **settings):
    plan = Plan.of(SynthConfig(**{"task": "sst2", "num_rows": 24, "chunk_size": 32, **settings}))
    out = folder / "dataset"
    return produce(
        plan, generator or Asked(), folder, lambda work, facts: (write_folder(work, out, plan.task, facts), facts)[1]
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("awful, really bad;  dull", ["awful", "really bad", "dull"]),
        (
            "1. Awful\n2) Really bad\n- dull\n* NASA\n• a fine day",
            ["awful", "really bad", "dull", "NASA", "a fine day"],
        ),
        ('"awful", “bad”, *dull*.', ["awful", "bad", "dull"]),
        ("awful (not good)\nbad: of poor quality\ndull - a bore", ["awful", "bad", "dull"]),
        ("awful, Awful, AWFUL", ["awful"]),
        ("son-in-law, don't, x9, 2020, a much too long phrase, ???", ["son-in-law", "don't"]),
        ("Germany, France", ["Germany", "France"]),
        ("", []),
    ],
)
def test_lists_of_all_kinds_are_read(text, words):
    assert listed(text) == words


def test_the_most_relevant_words_are_taken_and_shared_ones_are_nobodys():
    words = ["bad", "dull", "good", "fine", "film", "plot", "films", "seen"]
    relevance = np.array([[9, 1], [8, 2], [1, 9], [7, 7.5], [6, 6], [0, -1], [5, 4], [-3, -4]]) / 10
    seeds = {"no": ["poor", "dull"], "yes": ["good"]}
    assert chosen(words, relevance, seeds, 9) == {"no": ["poor", "bad", "dull", "films"], "yes": ["good", "fine"]}
    assert chosen(words, relevance, seeds, 2) == {"no": ["poor", "bad"], "yes": ["good", "fine"]}
    assert chosen(words, relevance, seeds, 1) == {"no": ["poor"], "yes": ["good"]}
    assert chosen([], relevance[:0], seeds, 3) == {"no": ["poor"], "yes": ["good"]}


def test_the_first_word_of_a_label_is_no_other_labels():
    relevance = np.array([[9.0, 1.0], [2.0, 1.0]])
    assert chosen(["Good", "bad"], relevance, {"no": ["poor"], "yes": ["good"]}, 3)["no"] == ["poor", "bad"]


def test_one_form_of_a_word_is_taken():
    words = ["sports", "sporting", "sport", "match", "matches", "ball"]
    relevance = np.array([[1.0 - at / 10, 0.0] for at in range(6)])
    assert chosen(words, relevance, {"a": ["game"], "b": ["war"]}, 9)["a"] == ["game", "sports", "match", "ball"]


def test_relevance_is_weighed_against_the_generalised_mean_of_the_others():
    rng = random.Random(0)
    relevance = np.array([[rng.random() for _ in range(4)] for _ in range(200)])
    seeds = {name: [name] for name in "abcd"}
    letters = ["".join(rng.choices("efghijklmnop", k=12)) for _ in range(200)]
    found = chosen(letters, relevance, seeds, 300)
    order = 1 + 10 / 2.01
    for word, row in zip(letters, relevance.tolist(), strict=True):
        of = []
        for at, name in enumerate(seeds):
            others = [value for place, value in enumerate(row) if place != at]
            mean = (sum(value**order for value in others) / 3) ** (1 / order)
            of += [name] if row[at] / mean >= 1 else []
        assert [name for name in seeds if word in found[name]] == (of if len(of) == 1 else [])


def test_words_stand_in_their_slot_else_in_place_of_the_label():
    slotted, plain = load_task("sst2"), load_task("reddit")
    assert rewritten(slotted).prompt == slotted.prompt
    task = rewritten(plain)
    assert task.prompt == plain.prompt.replace("{label}", "{word}")
    assert task.render("guitar", scoring=True) == plain.render("guitar", scoring=True)


def test_the_generators_lists_reach_the_prompts(tmp_path):
    generator = Asked()
    facts = made(tmp_path, generator, expand_words="model", words_per_label=3)
    words = facts["ledger"]["notes"]["words"]
    assert words == {"negative": ["terrible", "dull", "slow"], "positive": ["wonderful", "fine", "bright"]}
    for label, own in words.items():
        asked = {p.attributes["word"] for p in generator.prompts if p.cell == label and "word" in p.attributes}
        assert asked == set(own)
        assert all(f"how {p.attributes['word']} it is" in p.text for p in generator.prompts if "word" in p.attributes)
    seeds = load_task("sst2").words["negative"]
    lists = [p for p in generator.prompts if p.text.startswith("Words")]
    of = [p.text.splitlines()[-1] for p in lists if p.attributes["label"] == "negative"]
    assert of[:16] == [f'Words close in meaning to "{word}":' for word in seeds]
    stage = facts["ledger"]["stages"]["words"]
    assert stage["asked"] == len(of) * 2
    assert 0 < stage["dropped"]["no list"] == stage["asked"] - stage["kept"]
    card = (tmp_path / "dataset/README.md").read_text()
    assert "`{word}` is one of: terrible, dull, slow.\n" in card
    assert "### Words" not in card


def test_words_are_found_once(tmp_path):
    first = made(tmp_path, expand_words="model")
    generator = Asked()
    assert made(tmp_path, generator, expand_words="model")["ledger"] == first["ledger"]
    assert generator.prompts == []
    assert len([*(tmp_path / "journal/once").glob("words-*")]) == 1
    with pytest.raises(InputError, match="`words_per_label` is 16 there and 4 here"):
        made(tmp_path, expand_words="model", words_per_label=4)
    with pytest.raises(InputError, match="`expand_words` is 'model' there and None here"):
        made(tmp_path)


def test_a_label_with_one_prompt_slot_is_told_on_the_card(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("labels: {negative: poor, positive: good}\nprompt: 'A {label} film is \"'\n")
    generator = Asked()
    facts = made(tmp_path / "out", generator, task=str(mine), expand_words="model")
    assert facts["ledger"]["notes"]["words"]["negative"] == ["poor", "dull", "slow"]
    assert {p.text for p in generator.prompts if p.cell == "negative" and "word" in p.attributes} == {
        f'A {word} film is "' for word in ("poor", "dull", "slow")
    }
    card = (tmp_path / "out/dataset/README.md").read_text()
    assert "A poor film is" in card
    assert "In place of `poor` stands one of: poor, dull, slow.\n" in card


def test_nothing_is_asked_or_recorded_where_no_words_are_wanted(tmp_path):
    facts = made(tmp_path)
    assert "words" not in {**facts["ledger"]["stages"], **facts["ledger"]["notes"]}
    assert not (tmp_path / "journal/once").exists()
    assert not {"expand_words", "words_model", "consistency", "hypothesis"} & set(facts["settings"])


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_neighbours_are_the_words_nearest_to_the_labels_own(tmp_path, student_folder):
    mine = tmp_path / "mine.yaml"
    mine.write_text("labels: {negative: bad dull, positive: good}\nprompt: 'A {label} film is \"'\n")
    facts = made(
        tmp_path / "out", task=str(mine), expand_words="neighbours", words_per_label=4, words_model=str(student_folder)
    )
    encoder = Encoder(student_folder, "mean", True, 128)
    words = [word for word in WORDS if len(word) > 2]
    vectors = dict(zip(words, encoder(words), strict=True))
    middle = np.mean(list(vectors.values()), axis=0)
    labels = [encoder([own])[0] - middle for own in ("bad dull", "good")]
    near = {word: [cosine(vector - middle, label) for label in labels] for word, vector in vectors.items()}
    expected = sorted((w for w, (no, yes) in near.items() if no > 0 and no >= yes), key=lambda w: -near[w][0])
    expected = [word for word in expected if word not in ("good", "bad")]
    assert facts["ledger"]["notes"]["words"]["negative"] == ["bad dull", *expected[:3]]
    assert facts["settings"]["words_model"] == student_folder.name  # not where it lies
    assert str(student_folder) not in json.dumps(facts)


def test_the_vocabulary_is_whole_words(student_folder):
    from transformers import AutoTokenizer

    assert vocabulary(AutoTokenizer.from_pretrained(student_folder)) == [word for word in WORDS if len(word) > 2]
    pieces = ["[UNK]", "[PAD]", "film", "##ing", "of", "plot", "!", "1999", "été", "新闻"]
    wordpiece = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=wordpiece, unk_token="[UNK]", pad_token="[PAD]")
    assert vocabulary(tokenizer) == ["film", "plot", "été", "新闻"]


def corpus_of(tmp_path, texts):
    (tmp_path / "corpus/data").mkdir(parents=True)
    Dataset.from_dict({"text": texts}).to_parquet(tmp_path / "corpus/data/train-0.parquet")
    return {"path": str(tmp_path / "corpus"), "column": "text"}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"words_per_label": 4}, "`words_per_label: 4` is read with `expand_words` alone, which is `none`"),
        ({"hypothesis": "On {label}."}, "`hypothesis: On {label}.` is read with `consistency` alone"),
        ({"corpus": {"path": "x", "column": "text"}}, "nothing reads `corpus` here: zerogen finds no texts in it"),
    ],
)
def test_settings_that_nothing_reads_are_refused(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        Plan.of(SynthConfig(task="sst2", **settings))


def test_a_corpus_gives_its_frequent_words(tmp_path, student_folder):
    texts = ["good film", "good film plot", "good story", "film film", "x1 ab good", "movie review"]
    corpus = corpus_of(tmp_path, texts)
    assert corpus_words(Corpus(**corpus), 0) == ["good", "film", "movie"]
    settings = {"expand_words": "neighbours", "corpus": corpus, "words_model": str(student_folder)}
    facts = made(tmp_path / "out", **settings)
    assert {w for own in facts["ledger"]["notes"]["words"].values() for w in own[1:]} <= {"good", "film", "movie"}
    assert [source["path"] for source in facts["sources"]] == ["corpus"]
    other = [text.replace("film", "plot").replace("movie", "story") for text in texts]
    Dataset.from_dict({"text": other}).to_parquet(Path(corpus["path"]) / "data/train-0.parquet")
    facts = made(tmp_path / "out", **settings)  # of what lies there now
    assert {w for own in facts["ledger"]["notes"]["words"].values() for w in own[1:]} <= {"good", "plot", "story"}
    with pytest.raises(InputError, match="real test data must not condition generation"):
        made(tmp_path / "no", **{**settings, "corpus": {**corpus, "split": "test"}})


def test_info_nce_is_the_mean_over_positive_pairs():
    draw = torch.Generator().manual_seed(0)
    similarity = torch.randn(4, 6, generator=draw)
    positive = torch.rand(4, 6, generator=draw) < 0.4
    terms = []
    for row, own in zip(similarity.tolist(), positive.tolist(), strict=True):
        others = sum(math.exp(value) for value, is_own in zip(row, own, strict=True) if not is_own)
        terms += [
            -math.log(math.exp(v) / (math.exp(v) + others)) for v, is_own in zip(row, own, strict=True) if is_own
        ]
    assert info_nce(similarity, positive, ~positive).item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_prototypes_come_nearer_to_their_texts():
    draw = np.random.default_rng(0)
    labels = [at % 3 for at in range(60)]
    centres = draw.normal(size=(3, 48))
    texts = np.stack([centres[label] + 2 * draw.normal(size=48) for label in labels]).astype(np.float32)

    def margins(project, prototypes):
        found = np.array([[cosine(text @ project, prototype) for prototype in prototypes] for text in texts])
        own = found[np.arange(60), labels]
        found[np.arange(60), labels] = -1
        return own - found.max(axis=1)

    means = np.stack([texts[[at for at in range(60) if labels[at] == label]].mean(0) for label in range(3)])
    before, after = margins(np.eye(48), means), margins(*fit_prototypes(texts, labels, 0))
    assert after.mean() > 1.2 * before.mean()
    assert np.array_equal(fit_prototypes(texts, labels, 0)[1], fit_prototypes(texts, labels, 0)[1])


def test_prototypes_are_learnt_from_texts_of_each_label(tmp_path, student_folder):
    generator = Asked()
    facts = made(tmp_path, generator, expand_words="prototypes", words_per_label=4, words_model=str(student_folder))
    task, stage = load_task("sst2"), facts["ledger"]["stages"]["words"]
    assert [p.text for p in generator.prompts[:2]] == [task.render(label, scoring=True) for label in task.labels]
    assert stage["asked"] == 64
    words = facts["ledger"]["notes"]["words"]
    assert [own[0] for own in words.values()] == ["terrible", "wonderful"]
    for some, others in itertools.permutations(words.values(), 2):
        assert not set(some) & set(others)
        assert set(some[1:]) <= set(WORDS)


def test_a_label_of_which_nothing_could_be_written_is_named(tmp_path, student_folder):
    one_sided = ScriptedGenerator(
        lambda prompt, rng: f"a fine film number {rng.random()} indeed" if prompt.cell == "positive" else "no"
    )
    with pytest.raises(InputError, match="`expand_words: prototypes`: none of the texts written of 'negative'"):
        made(tmp_path, one_sided, expand_words="prototypes", words_model=str(student_folder))


RTE = str(Path(__file__).parent.parent / "recipes/paper_tasks/rte.yaml")
PER_LABEL = "labels: [dull, fine]\nprompt: {dull: 'It bored me: ', fine: 'It moved me, {label}: '}\n"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"expand_words": "synonyms"},
            "`expand_words`: input should be 'none', 'model', 'neighbours' or 'prototypes'",
        ),
        (
            {"expand_words": "model", "words_per_label": 0},
            "`words_per_label`: input should be greater than or equal to 1",
        ),
        (
            {"task": PER_LABEL, "expand_words": "model"},
            r"needs the slot \{word\} or \{label\} .*; got 'It bored me: '",
        ),
        (
            {"task": RTE, "expand_words": "prototypes"},
            "`expand_words: prototypes` is for tasks of kind single; 'rte'",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_loaded(tmp_path, settings, sentence):
    from hf_synth.config import checked

    if settings.get("task") == PER_LABEL:
        (tmp_path / "mine.yaml").write_text(PER_LABEL)
        settings = {**settings, "task": str(tmp_path / "mine.yaml")}
    with pytest.raises(InputError, match=sentence):
        Plan.of(checked(SynthConfig, {"task": "sst2", **settings}, "command line"))


def test_a_retriever_lists_no_words():
    config = SynthConfig(task="sst2", expand_words="model")
    with pytest.raises(InputError, match="`expand_words: model` asks a language model; `backend: corpus` has none"):
        Plan.of(config, None, BackendConfig(backend="corpus"))
