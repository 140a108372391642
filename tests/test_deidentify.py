"""Real text stays: personal data is masked before a generator learns, dropped after it wrote, and nothing is sent."""

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import WORDS
from datasets import ClassLabel, Dataset, Features, List, Value, load_dataset

from hf_synth import InputError, ScriptedGenerator, Task
from hf_synth.bio import spans_of
from hf_synth.commands.generate import plan_of
from hf_synth.commands.main import main
from hf_synth.commands.options import parse
from hf_synth.commands.train import masks_of, real_learnt
from hf_synth.deidentify import Masks, deidentified, masks_told, open_masks
from hf_synth.folder import replace_folder, write_folder
from hf_synth.hub import push
from hf_synth.leaving import reads_real, real_texts
from hf_synth.marks import held_back, stays
from hf_synth.methods.longtail import LongTailConfig
from hf_synth.notes import tagged_notes
from hf_synth.pii import mask
from hf_synth.produce import Plan, produce
from hf_synth.request import Request
from hf_synth.settings import OutputConfig, StudentConfig, SynthConfig
from hf_synth.shots import shots_of, tuned
from hf_synth.sources import Opening
from hf_synth.stages import trained_before
from hf_synth.task import Corpus
from hf_synth.tasks import load_task

TAGS = ["O", "B-P", "I-P"]
TOKENS = Task(
    name="n",
    labels={"P": "a disease"},
    kind="tokens",
    columns=("tokens",),
    prompt='{mentions}: "',
    tuning_prompt='{mentions}: "',
    words={"P": ("gout",)},
    label_column="tags",
)
YAML = """
labels: {negative: bad awful dull, positive: good great fine}
columns: text
prompt: 'review of {opening}, {label}: "'
tuning_prompt: 'the {label} movie review is "'
opening: {values: [the film]}
min_words: 1
max_new_tokens: 8
"""
MAIL = "write to ann.lee@clinic.org"


@pytest.fixture
def presidio():
    pytest.importorskip("presidio_analyzer")


@pytest.fixture
def patterns(monkeypatch):
    """Addresses and numbers such as 555-0123 are found, with presidio or without."""

    def spans(text):
        kinds = {"EMAIL_ADDRESS": r"[^ ]+@[^ ]+\w", "PHONE_NUMBER": r"\d{3}-\d{4}"}
        found = [(kind, *match.span()) for kind, one in kinds.items() for match in re.finditer(one, text)]
        return sorted(found, key=lambda one: one[1])

    monkeypatch.setattr("hf_synth.deidentify.spans", spans)
    monkeypatch.setattr("hf_synth.deidentify.find_spec", lambda name: "there")


@pytest.fixture
def task_file(tmp_path):
    (tmp_path / "mine.yaml").write_text(YAML)
    return str(tmp_path / "mine.yaml")


@pytest.fixture
def real(tmp_path):
    """Rows of which two hold an address, and one a name that only a list knows."""
    texts = [f"the {word} story" for word in WORDS[:10]] + [MAIL, f"{MAIL} now", "Karla Voss was bad"]
    (tmp_path / "notes").mkdir()
    data = Dataset.from_dict({"text": texts, "label": [at % 2 for at in range(len(texts))]})
    data.cast_column("label", ClassLabel(names=["negative", "positive"])).to_parquet(tmp_path / "notes/train.parquet")
    return str(tmp_path / "notes")


def tune(task_file, real, causal_folder, out, *more):
    flags = ["--task", task_file, "--model", str(causal_folder), "--shots", real, "--shots_per_class", "6"]
    return main(["tune", *flags, "--tune_epochs", "1", "--output_dir", str(out), *more])


def test_addresses_and_numbers_are_masked_also_in_pieces(presidio):
    masks = Masks()
    assert masks.text(f"{MAIL} or 212 555 0123.") == "write to [EMAIL_ADDRESS] or [PHONE_NUMBER]."
    assert masks.text("Ann Lee, born 1 May 1950") == "Ann Lee, born 1 May 1950"  # names and months are no patterns
    assert masks.text("seen 03/14/2019, 14-Mar-2019, at 1/2 ml") == "seen [DATE_TIME], [DATE_TIME], at 1/2 ml"
    assert masks.kinds("seen 03/14/2019") == []  # masked, but what holds one is not dropped
    tokens = ["gout", "of", "ann", ".", "lee", "@", "clinic", ".", "org", ",", "212", "555", "0123", ",", "recurred"]
    found, tags = masks.tokens(tokens, ["B-P", *["O"] * (len(tokens) - 1)])
    assert found == ["gout", "of", "[EMAIL_ADDRESS]", ",", "[PHONE_NUMBER]", ",", "recurred"]
    assert spans_of(tags) == [(0, 1, "P")]


def test_a_name_that_is_personal_is_no_entity_any_more(presidio):
    found, tags = Masks().tokens(["call", "212", "555", "0123", "for", "gout"], ["O", "O", "B-P", "I-P", "O", "B-P"])
    assert list(zip(found, tags, strict=True))[1] == ("[PHONE_NUMBER]", "O")
    assert spans_of(tags) == [(len(found) - 1, len(found), "P")]


def test_what_the_user_lists_is_masked_and_never_recorded(presidio, tmp_path):
    (tmp_path / "list.txt").write_text("Karla Voss\n\nre:MRN-\\d+\n")
    masks = open_masks(True, str(tmp_path / "list.txt"))
    assert masks.text("karla voss, MRN-77, Voss") == "[LISTED], [LISTED], Voss"
    rows = Dataset.from_dict({"tokens": [["Karla", "Voss", "has", "gout"]], "tags": [["O", "O", "O", "B-P"]]})
    clean, told = deidentified(TOKENS, rows, masks)
    assert clean[0] == {"tokens": ["[LISTED]", "has", "gout"], "tags": ["O", "O", "B-P"]}
    assert told["masked"] == {"LISTED": 1}
    assert told["listed"] == 2
    assert "Voss" not in json.dumps(told)
    assert "masked in 1 of 1 real rows: LISTED 1" in masks_told(told)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "holds no line"), ("re:(", "'re:\\(' is no regular expression"), (None, "cannot be read")],
)
def test_a_list_that_is_none_is_refused(presidio, tmp_path, text, message):
    if text is not None:
        (tmp_path / "list.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        open_masks(True, str(tmp_path / "list.txt"))


def test_a_list_of_windows_and_a_name_over_two_lines(presidio, tmp_path):
    (tmp_path / "list.txt").write_text("Karla Voss\nre:MRN-\\d+\n", encoding="utf-8-sig")
    masks = open_masks(True, str(tmp_path / "list.txt"))
    assert masks.text("Karla Voss, Karla\n  Voss, MRN-77") == "[LISTED], [LISTED], [LISTED]"


def test_a_list_without_deidentification_is_refused():
    with pytest.raises(InputError, match="`personal: names.txt` is read with `deidentify` alone"):
        open_masks(False, "names.txt")


def test_without_presidio_nothing_is_trained(task_file, real, causal_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hf_synth.deidentify.find_spec", lambda name: None)
    assert tune(task_file, real, causal_folder, tmp_path / "a", "--private") == 2
    said = capsys.readouterr().err
    assert "`deidentify` needs presidio: pip install 'hf_synth[pii]'" in said
    assert not (tmp_path / "a").exists()


def test_tune_masks_first_and_says_so(presidio, task_file, real, causal_folder, tmp_path, capsys):
    assert tune(task_file, real, causal_folder, tmp_path / "a", "--private") == 0
    assert "masked in 2 of 12 real rows: EMAIL_ADDRESS 2" in " ".join(capsys.readouterr().out.split())
    record = json.loads((tmp_path / "a/adapter.json").read_text())
    assert record["private"] is True
    assert record["deidentified"]["masked"] == {"EMAIL_ADDRESS": 2}
    card = (tmp_path / "a/README.md").read_text()
    assert "masked personal data in 2 of 12 rows\n(EMAIL_ADDRESS 2)" in card
    assert "clinic" not in card + json.dumps(record)


def test_without_private_nothing_is_looked_for(task_file, real, causal_folder, tmp_path):
    assert tune(task_file, real, causal_folder, tmp_path / "a") == 0
    record = json.loads((tmp_path / "a/adapter.json").read_text())
    assert (record["private"], record["deidentified"]) == (False, None)
    assert "Personal data in these rows was not looked for." in (tmp_path / "a/README.md").read_text()


def written(out, deidentify):
    """Return kept texts, dropped ones, and the ledger of reviews of which some hold an address."""

    def review(prompt, rng: random.Random) -> str:
        words = " ".join(rng.choice(WORDS) for _ in range(6))
        return f'{MAIL} {words}"' if rng.random() < 0.3 else f'{words}"'

    plan = Plan.of(SynthConfig(task="sst2", num_rows=40, deidentify=deidentify))
    generator = ScriptedGenerator(review, name="reviews")
    use = lambda work, facts: write_folder(work, out / "dataset", plan.task, facts)  # noqa: E731
    facts = produce(plan, generator, out, use)
    folder, cache = str(out / "dataset"), str(out / "cache")
    rows = [load_dataset(folder, name, cache_dir=cache)["train"] for name in ("default", "rejects")]
    return rows[0]["sentence"][:], rows[1]["text"][:], facts["ledger"]["stages"]["rows"]["dropped"]


def test_what_is_written_with_personal_data_is_dropped_and_masked_in_the_rejects(presidio, tmp_path):
    kept, dropped, counts = written(tmp_path / "on", True)
    assert counts["personal data: EMAIL_ADDRESS"] >= 1
    assert not any("@" in text for text in [*kept, *dropped])
    assert any(text.startswith("write to [EMAIL_ADDRESS]") for text in dropped)
    kept, _, counts = written(tmp_path / "off", None)
    assert any("@" in text for text in kept)
    assert not any("personal" in reason for reason in counts)


def test_private_says_what_would_have_left(task_file, real, capsys):
    given = ["generate", "--task", task_file, "--shots", real, "--private", "--deidentify", "false"]
    chat = ["--backend", "chat", "--base_url", "http://192.0.2.1/v1"]
    assert main([*given, "--method", "augment", "--how", "paraphrase", "--shots_per_class", "4", *chat]) == 2
    said = capsys.readouterr().err
    assert "192.0.2.1 is not on it" in said
    assert "what would have left: prompts that quote up to 8 real rows of 'notes'" in said
    assert main(["generate", "--task", task_file, "--private", *chat]) == 2
    assert "no real row is in the prompts" in capsys.readouterr().err
    assert main([*given, "--method", "augment", "--shots_per_class", "4", "--hub_id", "me/x"]) == 2
    said = capsys.readouterr().err
    assert "`hub_id: me/x` would send rows made with prompts that quote up to 8 real rows of 'notes'" in said
    assert "hf-synth push --overrule private" in said


def test_an_adapter_of_private_rows_leaves_when_it_is_said(presidio, task_file, real, causal_folder, tmp_path, capsys):
    assert tune(task_file, real, causal_folder, tmp_path / "a", "--private", "--hub_id", "me/a") == 2
    assert "would send an adapter that has learnt from 12 real rows" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    assert tune(task_file, real, causal_folder, tmp_path / "a", "--private") == 0
    capsys.readouterr()
    with pytest.raises(InputError, match="made under `private` and holds what has learnt from real rows of notes"):
        push(tmp_path / "a", "me/a", repo_type="model", token="t")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE|network|token"):  # it goes on to the Hub, which is not there
        push(tmp_path / "a", "me/a", repo_type="model", overrule=["private"])


def test_marked_shots_say_where_names_are():
    features = Features({"tokens": List(Value("string")), "tags": List(ClassLabel(names=TAGS))})
    rows = Dataset.from_dict({"tokens": [["a", "<", "sort", "of", "gout"]], "tags": [[0, 0, 1, 2, 2]]}, features)
    named = rows.map(
        lambda row: {"tags": [TAGS[at] for at in row["tags"]]},
        features=Features({"tokens": List(Value("string")), "tags": List(Value("string"))}),
    )
    [shot] = shots_of(tuned(Task(**{**vars(TOKENS), "annotate": "markup"})), named, 0)
    assert shot.answer == 'a ( <P>sort of gout</P>"'
    assert shot.text == "a < sort of gout"


def test_an_adapter_that_marks_names_is_asked_so(causal_folder, tmp_path, capsys):
    (tmp_path / "n.yaml").write_text(
        """
kind: tokens
labels: {P: a film}
columns: tokens
label_column: tags
words: {P: [the film, story]}
prompt: 'a {mentions} is "'
min_words: 1
max_new_tokens: 8
"""
    )
    features = Features({"tokens": List(Value("string")), "tags": List(ClassLabel(names=TAGS))})
    rows = {"tokens": [["a", "dull", "story", word] for word in WORDS[:8]], "tags": [[0, 0, 1, 0]] * 8}
    (tmp_path / "marked").mkdir()
    Dataset.from_dict(rows, features).to_parquet(tmp_path / "marked/train.parquet")
    task = ["--task", str(tmp_path / "n.yaml"), "--model", str(causal_folder)]
    more = [
        "--shots",
        str(tmp_path / "marked"),
        "--shots_per_class",
        "8",
        "--tune_epochs",
        "1",
        "--annotate",
        "markup",
    ]
    assert main(["tune", *task, *more, "--output_dir", str(tmp_path / "a")]) == 0
    assert json.loads((tmp_path / "a/adapter.json").read_text())["annotate"] == "markup"
    ask = ["generate", *task, "--adapter", str(tmp_path / "a"), "--num_rows", "1", "--output_dir", str(tmp_path / "o")]
    assert main(ask) == 2
    assert "`annotate: mentions`: the adapter 'a' has learnt `annotate: markup`" in capsys.readouterr().err
    assert main(["generate", "--task", "sst2", "--annotate", "markup", "--output_dir", str(tmp_path / "p")]) == 2
    assert "`annotate` is for tasks of kind tokens" in capsys.readouterr().err


def test_real_sentences_with_other_names_in_them(tmp_path, capsys):
    features = Features(
        {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-Disease", "I-Disease"]))}
    )
    rows = {"tokens": [["two", "sisters", "had", "breast", "cancer", "and", "rare", word] for word in WORDS[:4]]}
    rows["ner_tags"] = [[0, 0, 0, 1, 2, 0, 0, 0]] * 4
    (tmp_path / "swaps").mkdir()
    Dataset.from_dict(rows, features).to_parquet(tmp_path / "swaps/train.parquet")
    flags = ["--method", "augment", "--how", "names", "--shots", str(tmp_path / "swaps"), "--shots_per_class", "4"]
    argv = ["generate", "--task", "ncbi_disease", *flags, "--num_rows", "30", "--output_dir", str(tmp_path / "o")]
    assert main(argv) == 0
    data = load_dataset(str(tmp_path / "o/dataset"), cache_dir=str(tmp_path / "cache"))["train"]
    names = data.features["ner_tags"].feature.names
    found = set()
    for row in data:
        [(start, end, label)] = spans_of([names[tag] for tag in row["ner_tags"]])
        assert (start, label, row["tokens"][:3]) == (3, "Disease", ["two", "sisters", "had"])
        assert row["tokens"][end : end + 2] == ["and", "rare"]
        found.add(" ".join(row["tokens"][start:end]))
    assert len(found) > 10
    assert main(["generate", "--task", "sst2", *flags]) == 2
    assert "`how: names` is for tasks of kind tokens" in capsys.readouterr().err


def test_notes_without_tags_are_learnt_where_names_stand(presidio, causal_folder, tmp_path, capsys):
    notes = [
        "Two boys had measles. Call 212 555 0123 now about asthma of Ann. No name stands here.",
        None,
        "Gout came back too.",
    ]
    (tmp_path / "wards").mkdir()
    Dataset.from_dict({"note": notes}).to_parquet(tmp_path / "wards/train.parquet")
    (tmp_path / "n.yaml").write_text(
        "kind: tokens\nlabels: {P: a disease}\ncolumns: tokens\nwords: {P: [measles, asthma, gout]}\n"
        "prompt: '{mentions}: \"'\nmin_words: 1\n"
    )
    task = ["--task", str(tmp_path / "n.yaml"), "--model", str(causal_folder), "--private", "--tune_epochs", "1"]
    given = ["--notes", json.dumps({"path": str(tmp_path / "wards"), "column": "note"})]
    argv = ["tune", *task, *given, "--shots_per_class", "3", "--output_dir", str(tmp_path / "a")]
    assert main(argv) == 0
    record = json.loads((tmp_path / "a/adapter.json").read_text())
    assert (record["rows"], record["shots"]["name"]) == (3, "wards")
    assert record["deidentified"]["masked"] == {"PHONE_NUMBER": 1}
    assert "sentences of unlabelled notes, tagged by a program" in (tmp_path / "a/README.md").read_text()
    capsys.readouterr()
    assert main([*argv, "--shots", "x", "--output_dir", str(tmp_path / "b")]) == 2
    assert "`notes` stands in place of `shots`" in capsys.readouterr().err
    assert main(["tune", *task, *given, "--shots_per_class", "4", "--output_dir", str(tmp_path / "b")]) == 2
    assert "4 rows of each label are wanted, and `notes` of wards has 3" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_notes_of_the_hub_go_by_their_whole_name(monkeypatch):
    rows = Dataset.from_dict({"note": ["All three boys of the ward had gout."]})
    monkeypatch.setattr("hf_synth.notes.load_corpus", lambda corpus: rows)
    task = replace(load_task("ncbi_disease"), words={"Disease": ("gout",)})
    assert tagged_notes(task, Corpus("me/notes", "note")).name == "me/notes"


def test_a_method_that_quotes_shots_quotes_them_masked(presidio, tmp_path):
    features = Features(
        {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-Disease", "I-Disease"]))}
    )
    tokens = [["call", "212", "555", "0123", "about", "gout", "in", word] for word in WORDS[:4]]
    rows = Dataset.from_dict({"tokens": tokens, "ner_tags": [[0, 0, 0, 0, 0, 1, 0, 0]] * 4}, features)
    (tmp_path / "calls").mkdir()
    rows.to_parquet(tmp_path / "calls/train.parquet")
    flags = ["--method", "augment", "--how", "names", "--shots", str(tmp_path / "calls"), "--shots_per_class", "4"]
    argv = ["generate", "--task", "ncbi_disease", *flags, "--num_rows", "8", "--private"]
    assert main([*argv, "--output_dir", str(tmp_path / "o")]) == 0
    own = tmp_path / "o/dataset/hf_synth"
    prompts = Dataset.from_parquet(str(own / "prompts.parquet"), cache_dir=str(tmp_path / "cache"))["text"][:]
    assert all(text.startswith("call [PHONE_NUMBER] about") for text in prompts)
    facts = json.loads((own / "facts.json").read_text())
    assert facts["private"] == ["prompts that quote up to 4 real rows of 'calls'"]
    assert facts["ledger"]["notes"]["de-identification"]["masked"] == {"PHONE_NUMBER": 4}
    with pytest.raises(InputError, match="holds rows made with prompts that quote up to 4 real rows of 'calls'"):
        push(tmp_path / "o/dataset", "me/x", token="t")


def test_a_model_of_private_rows_leaves_when_it_is_said(patterns, task_file, real, tmp_path, monkeypatch):
    folder = tmp_path / "o"
    given = ["--task", task_file, "--shots", real, "--method", "augment", "--how", "eda", "--shots_per_class", "4"]
    own = ["--num_rows", "24", "--output_dir", str(folder), "--student", "bilstm", "--num_train_epochs", "1"]
    made = [*given, *own[:4]]
    assert main(["generate", *made, "--private"]) == 0
    before = []
    swap = lambda fresh, target: (before.append(held_back(fresh)), replace_folder(fresh, target))  # noqa: E731
    monkeypatch.setattr("hf_synth.stages.replace_folder", swap)
    assert main(["train", *given, *own, "--private"]) == 0
    assert before == [held_back(folder / "model")]  # no kill leaves a model without its mark
    (folder / "model/README.md").write_text("---\nlicense: mit\n---\n")
    with pytest.raises(InputError, match="what a model has learnt from rows made with prompts that quote"):
        push(folder / "model", "me/a", repo_type="model", token="t")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE"):  # it goes on to the Hub
        push(folder / "model", "me/a", repo_type="model", overrule=["private"], token="t")


def test_what_starts_from_a_model_that_must_stay_stays(task_file, tmp_path, capsys):
    (tmp_path / "held").mkdir()
    (tmp_path / "held/training.json").write_text(json.dumps({"private": ["real rows of wards"]}))
    assert real_learnt(StudentConfig(student=str(tmp_path / "held")), False) == ["real rows of wards"]
    to = ["--hub_id", "me/x", "--output_dir", str(tmp_path / "o")]
    assert main(["generate", "--task", task_file, "--model", str(tmp_path / "held"), *to]) == 2
    assert "would send rows made with real rows of wards" in capsys.readouterr().err


def test_a_model_stays_private_when_its_training_is_asked_for_again(task_file, real, tmp_path):
    folder = tmp_path / "o"
    given = ["--task", task_file, "--shots", real, "--method", "augment", "--how", "eda", "--shots_per_class", "4"]
    own = ["--num_rows", "24", "--output_dir", str(folder), "--student", "bilstm", "--num_train_epochs", "1"]
    assert main(["generate", *given, *own[:4]]) == 0
    train = ["train", *given, *own, "--real_rows", real, "--deidentify", "false"]
    assert main([*train, "--private"]) == 0
    assert main(train) == 0
    (folder / "model/README.md").write_text("---\nlicense: mit\n---\n")
    with pytest.raises(InputError, match="real rows of"):
        push(folder / "model", "me/a", repo_type="model", token="t")
    record = json.loads((folder / "model/training.json").read_text())
    more = ["real rows of notes", "rows of 'more'", "rows of 'more'"]
    assert trained_before(folder / "model", "another", more) is None
    told = trained_before(folder / "model", record["key"], more)
    assert told == json.loads((folder / "model/training.json").read_text())
    assert told == {**record, "private": ["real rows of notes", "rows of 'more'"]}


def test_real_rows_are_masked_before_a_student_learns_them(patterns, task_file, real):
    task, config = load_task(task_file), StudentConfig("bilstm", real_rows=real)
    generated = Dataset.from_dict({"text": ["a good film"], "label": [1]})
    plain, masked = (Request.of(task, config, 0, masks) for masks in (None, Masks()))
    assert any("clinic" in text for text in plain.texts(generated))  # of these the BiLSTM's vocabulary is made
    assert not any("clinic" in text for text in masked.texts(generated))
    assert "write to [EMAIL_ADDRESS] now" in masked.real.data["text"][:]
    assert masked.real_facts()["deidentified"]["masked"] == {"EMAIL_ADDRESS": 2}
    assert "deidentified" not in plain.real_facts()


def test_private_trainings_mask_and_report_to_nobody(patterns, task_file):
    def asked(private, deidentify=None, **student):
        return masks_of(SynthConfig(task=task_file, deidentify=deidentify), StudentConfig(**student), private)

    assert asked(True, real_rows="x") == asked(False, True, real_rows="x") == Masks()
    assert asked(False, real_rows="x") is asked(True, False, real_rows="x") is asked(True) is None
    assert asked(False, training_args={"report_to": "wandb"}) is None
    with pytest.raises(InputError, match="`training_args.report_to: wandb` may not"):
        asked(True, training_args={"report_to": "wandb"})


def test_a_list_is_read_for_real_rows_that_the_student_alone_learns(patterns, task_file, real, tmp_path, capsys):
    """By every verb of one recipe; what is generated is as it would be without them."""
    (tmp_path / "names.txt").write_text("Karla Voss\n")
    recipe = {"task": task_file, "method": "zerogen", "personal": str(tmp_path / "names.txt"), "real_rows": real}
    (tmp_path / "r.yaml").write_text(json.dumps({**recipe, "private": True, "output_dir": str(tmp_path / "o")}))
    kinds = (SynthConfig, StudentConfig, OutputConfig)
    given = ["--config", str(tmp_path / "r.yaml")]
    found = parse(given, "run", *kinds)
    assert plan_of(found).config == replace(found[SynthConfig], personal=None)
    assert masks_of(found[SynthConfig], found[StudentConfig], True).text("of Karla Voss") == "of [LISTED]"
    for verb, message in (("train", "no data set in"), ("evaluate", "is missing"), ("export", "is missing")):
        assert main([verb, *given]) == 2
        assert message in capsys.readouterr().err
    assert main(["generate", *given, "--backend", "chat", "--base_url", "http://192.0.2.1/v1"]) == 2
    assert "192.0.2.1 is not on it" in capsys.readouterr().err
    bare = ["--task", task_file, "--personal", recipe["personal"]]
    for argv in ([*given, "--private", "false"], [*given, "--deidentify", "false"], [*bare, "--private"], bare):
        assert main(["run", *argv]) == 2
        assert "is read with `deidentify` alone, which is off" in capsys.readouterr().err
    augment = ["--method", "augment", "--how", "eda", "--shots", real]
    plan = plan_of(parse([*given, *augment], "train", *kinds))
    assert (plan.config.deidentify, plan.config.personal) == (True, recipe["personal"])


QUESTIONS = """
kind: qa
columns: [context, question]
label_column: answers
labels: {name: a name, number: a number}
prompt: '{cloze} {label}: "'
opening: {corpus: {path: CORPUS, column: note}}
stop: ['?']
ending: '?'
min_words: 2
"""


def test_contexts_of_a_corpus_that_the_task_names_are_masked_under_private(patterns, tmp_path, monkeypatch):
    """Also those of dropped rows, which stand in the prompts and chunks; answers stand where they are said to."""
    notes = [f"In 1979 Karla Voss, {at}.voss@clinic.org, moved {at + 20} beds of Ward Seven." for at in range(12)]
    (tmp_path / "wards").mkdir()
    Dataset.from_dict({"note": notes}).to_parquet(tmp_path / "wards/train.parquet")
    (tmp_path / "q.yaml").write_text(QUESTIONS.replace("CORPUS", str(tmp_path / "wards")))

    def ask(prompt, rng):
        told = f"Was {MAIL[9:]} told of beds moved?"
        return told if rng.random() < 0.3 else f"What of beds moved {rng.choice(WORDS)}?"

    generator = ScriptedGenerator(ask, name="asks")
    monkeypatch.setattr("hf_synth.commands.generate.open_generator", lambda *_, **__: generator)
    argv = ["generate", "--task", str(tmp_path / "q.yaml"), "--openings", "corpus", "--num_rows", "8", "--private"]
    assert main([*argv, "--max_attempts", "4", "--output_dir", str(tmp_path / "o")]) == 0
    own = tmp_path / "o/dataset"
    facts = json.loads((own / "hf_synth/facts.json").read_text())
    assert facts["settings"]["deidentify"] is True
    assert facts["private"] == ["texts of the corpus 'wards'"]
    assert facts["ledger"]["stages"]["rows"]["dropped"]["personal data: EMAIL_ADDRESS"]
    for file in own.rglob("*.parquet"):
        assert "clinic" not in json.dumps(pq.read_table(file).to_pylist(), default=str), file
    for file in (own / "data").glob("[tv][ra]*.parquet"):
        for row in pq.read_table(file).to_pylist():
            [text], [start] = row["answers"]["text"], row["answers"]["answer_start"]
            assert row["context"][start : start + len(text)] == text
            assert "[EMAIL_ADDRESS]" in row["context"]
            assert "EMAIL" not in text


def test_answers_of_real_questions_move_with_what_is_masked(patterns):
    task = Task(
        name="q",
        labels={"name": "a name"},
        kind="qa",
        columns=("context", "question"),
        prompt='{answer} "',
        label_column="answers",
        opening=Opening(values=("x",)),
    )
    context = "Call 555-0123 or Karla Voss."
    rows = {"context": [context, context, "Nothing here."], "question": ["Who?", "Which number?", "What?"]}
    rows["answers"] = [
        {"text": [text], "answer_start": [text_in.index(text)]}
        for text, text_in in (("Karla Voss", context), ("555-0123", context), ("Nothing", "Nothing here."))
    ]
    found, told = deidentified(task, Dataset.from_dict(rows), Masks())
    assert found["question"][:] == ["Who?", "What?"]  # the answer of the other one is hidden
    assert found[0]["context"] == "Call [PHONE_NUMBER] or Karla Voss."
    assert found[0]["answers"] == {"text": ["Karla Voss"], "answer_start": [found[0]["context"].index("Karla")]}
    assert told["masked"] == {"PHONE_NUMBER": 2}
    with pytest.raises(InputError, match="none of the 1 real rows is left once personal data is masked: give others"):
        deidentified(task, Dataset.from_dict(rows).select([1]), Masks())


def test_what_is_made_of_a_set_that_must_stay_stays(tmp_path, capsys):
    marked, plain = tmp_path / "marked", tmp_path / "people.csv"
    (marked / "hf_synth").mkdir(parents=True)
    (marked / "hf_synth/facts.json").write_text(json.dumps({"private": ["texts of the corpus 'wards'"]}))
    plain.write_text("age,sex\n20,f\n,m\n")
    to, model = ["--hub_id", "me/x", "--output_dir", str(tmp_path / "o")], ["--image_model", "no/such"]
    for argv in (["illustrate", str(marked), *model], ["illustrate", str(marked), *model, "--private"]):
        assert main([*argv, *to]) == 2
        assert "would send rows made with texts of the corpus 'wards'" in capsys.readouterr().err
    (marked / "data").mkdir()
    (marked / "data/train.csv").write_text(plain.read_text())
    assert main(["impute", str(marked / "data/train.csv"), *to]) == 2
    assert "would send rows made with texts of the corpus 'wards'" in capsys.readouterr().err
    assert main(["impute", str(plain), "--private", *to]) == 2
    said = capsys.readouterr().err
    assert "`hub_id: me/x` would send rows made with rows of 'people.csv'" in said
    assert "--overrule private" in said
    assert not (tmp_path / "o").exists()


def test_a_part_of_a_set_that_must_stay_must_stay_however_it_is_written(tmp_path, monkeypatch):
    marked, what = tmp_path / "marked", ["texts of the corpus 'wards'"]
    for folder in ("hf_synth", "data"):
        (marked / folder).mkdir(parents=True)
    (marked / "hf_synth/facts.json").write_text(json.dumps({"private": what}))
    for file in ("table.csv", "data/train.csv"):
        (marked / file).write_text("age\n20\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(marked / "data")
    for part in ("", "/data", "/table.csv", "/data/train.csv"):
        assert stays(f"~/marked{part}", False) == stays(f"{marked}{part}", True) == what
    assert stays("train.csv", False) == what
    (tmp_path / "out").mkdir()
    (tmp_path / "out/dataset").symlink_to(marked)
    assert stays(str(tmp_path / "out"), False) == what
    assert stays("me/set", False) == stays("~nobody-here/x", False) == []  # ids of the Hub, wherever one stands
    monkeypatch.setattr(Path, "resolve", lambda self: Path("/table.csv"))
    assert stays("train.csv", True) == ["rows of 'table.csv'"]


def test_what_learns_from_a_set_that_must_stay_stays(task_file, real, causal_folder, tmp_path, capsys, monkeypatch):
    """Without a word of `--private`: rows that quote it, an adapter, a model."""
    monkeypatch.setattr("hf_synth.hub.check_access", lambda repo: pytest.fail("asked the Hub"))
    (tmp_path / "notes/hf_synth").mkdir()
    (tmp_path / "notes/hf_synth/facts.json").write_text(json.dumps({"private": ["texts of the corpus 'wards'"]}))
    rows, to, o = f"{real}/train.parquet", ["--hub_id", "me/x"], ["--output_dir", str(tmp_path / "o")]
    given = ["--task", task_file, "--method", "augment", "--how", "eda", "--shots", rows, "--shots_per_class", "4"]
    for verb in ("generate", "run"):
        assert main([verb, *given, *o, *to]) == 2
        assert "`hub_id: me/x` would send rows made with texts of the corpus 'wards'" in capsys.readouterr().err
    assert main(["run", "--task", task_file, "--real_rows", rows, *o, *to]) == 2
    said = capsys.readouterr().err
    assert "would send a model that has learnt from rows made with texts of the corpus 'wards'" in said
    words = ["--expand_words", "neighbours", "--corpus", json.dumps({"path": rows, "column": "text"})]
    assert main(["generate", "--task", task_file, *words, *o, *to]) == 2
    assert "would send rows made with texts of the corpus 'wards'" in capsys.readouterr().err
    assert tune(task_file, rows, causal_folder, tmp_path / "a", *to) == 2
    assert "would send an adapter that has learnt from 12 real rows" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "o").exists()
    assert tune(task_file, rows, causal_folder, tmp_path / "a") == 0
    assert held_back(tmp_path / "a") == "what has learnt from real rows of train.parquet"
    assert main(["generate", *given, "--num_rows", "24", *o]) == 0
    assert held_back(tmp_path / "o/dataset") == "rows made with texts of the corpus 'wards'"
    student = StudentConfig(real_rows=rows)
    assert real_learnt(student, False) == real_learnt(student, True) == ["rows made with texts of the corpus 'wards'"]
    assert real_learnt(StudentConfig(real_rows=task_file), False) == real_learnt(StudentConfig(), True) == []


def test_figures_are_not_masked_and_long_numbers_are():
    assert mask("0.0098, and 0.00985222 in 300 rows") == "0.0098, and 0.00985222 in 300 rows"
    for text in ("call 0171.1234567", "0.1 5551234567", "no. 0.5551234 567"):
        assert "4567" not in mask(text)
        assert "<" in mask(text)


@pytest.mark.extras
def test_rows_that_a_long_tail_quotes_are_masked(tmp_path, student_folder):
    pytest.importorskip("presidio_analyzer")
    folder = tmp_path / "seen"
    (folder / "data").mkdir(parents=True)
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["negative", "positive"])})
    texts = [f"a film of jane.doe{at}@example.org again" for at in range(8)]
    rows = Dataset.from_dict({"sentence": texts, "label": [0, 1] * 4}, features=features)
    rows.to_parquet(folder / "data/train-0.parquet")
    writer = ScriptedGenerator(lambda prompt, rng: f'a film seen {rng.random()} times"', name="writer")
    config = LongTailConfig(seen_rows=str(folder), planner=str(student_folder), first_round=4)
    plan = Plan.of(SynthConfig(task="sst2", method="longtail", num_rows=4, deidentify=True), config)
    assert real_texts(plan) == ["prompts that quote real rows of 'seen'"]
    assert reads_real(plan)
    made = tmp_path / "set"
    facts = produce(plan, writer, tmp_path / "out", lambda work, told: write_folder(work, made, plan.task, told))
    prompts = pq.read_table(made / "hf_synth/prompts.parquet")["text"].to_pylist()
    assert any("[EMAIL_ADDRESS]" in prompt for prompt in prompts)
    assert "jane" not in "".join(prompts)
    assert facts["ledger"]["notes"]["de-identification"]["rows_with_some"] == 8
