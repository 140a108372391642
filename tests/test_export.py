"""ONNX: the same logits, any number of rows and tokens, or a refusal with the reason that leaves nothing behind."""

import json
import subprocess
import sys

import onnxruntime
import pytest
import torch
import transformers as hf
from conftest import saved
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_synth.commands.main import main
from hf_synth.errors import InputError
from hf_synth.export import export_onnx
from hf_synth.marks import held_back
from hf_synth.students import BiLSTMConfig, BiLSTMForSequenceClassification, build_tokenizer

TEXTS = ["a good film", "the plot is dull and the story is no good", "fine", "a great movie"]
# Logits of a wide spread, so that a wrong one is far off.
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
WIDE = {"initializer_range": 0.5, "num_labels": 3}
DISTIL = {"dim": 32, "hidden_dim": 64, "n_layers": 1, "n_heads": 4}
LAYERS = {"num_hidden_layers": 2, "global_attn_every_n_layers": 2, "local_attention": 8}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "cls_token_id": 1, "sep_token_id": 1}
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8, "type_vocab_size": 0}
KINDS = {
    "bert": (hf.BertForSequenceClassification, hf.BertConfig, SIZES),
    "distilbert": (hf.DistilBertForSequenceClassification, hf.DistilBertConfig, DISTIL),
    "roberta": (hf.RobertaForSequenceClassification, hf.RobertaConfig, {**SIZES, "pad_token_id": 0}),
    "deberta": (hf.DebertaV2ForSequenceClassification, hf.DebertaV2Config, {**SIZES, **RELATIVE}),
    "modernbert": (hf.ModernBertForSequenceClassification, hf.ModernBertConfig, {**SIZES, **LAYERS, **IDS}),
}


def student(name, folder):
    model, config, sizes = KINDS[name]
    return saved(folder, model, config, **{**sizes, **WIDE})


def exported(name, folder):
    """Return the folders of a student and of its ONNX twin."""
    assert export_onnx(student(name, folder / "model"), folder / "onnx", 64) <= 1e-4
    return folder / "model", folder / "onnx"


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return exported("bert", tmp_path_factory.mktemp("bert"))


def agree(folder, target):
    """What stands in the ONNX folder, and nothing else, gives the student's logits."""
    names = {file.name for file in target.iterdir()}
    assert names == {"model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"}
    assert AutoConfig.from_pretrained(target).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    tokenizer = AutoTokenizer.from_pretrained(target)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    session = onnxruntime.InferenceSession(target / "model.onnx")
    for texts in (TEXTS, TEXTS[:1], TEXTS * 9, [TEXTS[1] * 4]):
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        found = session.run(None, {key: value.numpy() for key, value in batch.items()})[0]
        with torch.no_grad():
            expected = model(**batch).logits
        assert expected.std() > 0.05
        torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=0)
    assert {entry.name for entry in folder.parent.iterdir()} == {"model", "onnx"}


def test_onnxruntime_gives_the_students_logits(bert):
    agree(*bert)


@pytest.mark.extras
@pytest.mark.parametrize("name", [name for name in KINDS if name != "bert"])
def test_other_architectures(name, tmp_path, request):
    if "extras" not in request.config.option.markexpr:
        pytest.skip("5 seconds each: run with -m extras")
    agree(*exported(name, tmp_path))


def test_the_bilstm_is_refused_with_the_reason(tmp_path):
    tokenizer = build_tokenizer(TEXTS)
    BiLSTMForSequenceClassification(BiLSTMConfig(vocab_size=len(tokenizer))).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    refused(tmp_path, r"'bilstm' \(BiLSTMForSequenceClassification\) cannot be exported.*unrolls recurrent layers")


def refused(tmp_path, reason):
    """What stood there before stays, and nothing is left beside it."""
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_text("of before")
    with pytest.raises(InputError, match=reason) as caught:
        export_onnx(tmp_path / "model", tmp_path / "onnx", 16)
    assert "\n" not in str(caught.value)
    assert {entry.name for entry in tmp_path.iterdir()} == {"model", "onnx"}
    assert [(file.name, file.read_text()) for file in (tmp_path / "onnx").iterdir()] == [("model.onnx", "of before")]


class OddConfig(hf.PreTrainedConfig):
    model_type = "odd"
    vocab_size: int = 200
    way: str = "same"


class Odd(hf.PreTrainedModel):
    """A bag of words that an exporter gets wrong in a way of one's choice."""

    config_class = OddConfig

    def __init__(self, config):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None):
        words = self.embeddings(input_ids) * attention_mask.unsqueeze(-1)
        if self.config.way == "fixed":
            logits = sum(words[:, at] for at in range(input_ids.shape[1]))
        elif self.config.way == "differs":
            logits = words.sum(1) + (0.25 if torch.compiler.is_exporting() else 0.0)
        elif self.config.way == "nan":
            logits = words.sum(1) / (attention_mask.sum(1, keepdim=True) - attention_mask.shape[1])
        else:
            logits = words.sum(1)
        return SequenceClassifierOutput(logits=logits)


AutoConfig.register("odd", OddConfig)
AutoModelForSequenceClassification.register(OddConfig, Odd)


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("differs", r"logits of 1 x 1 tokens differ by 0.25, more than 0.0001"),
        ("nan", r"logits of 1 x 1 tokens differ by nan"),
        ("fixed", r"the exporter fixed the size of input_ids \[.*, 7\]"),
    ],
)
def test_a_wrong_model_is_refused(way, reason, tmp_path):
    saved(tmp_path / "model", Odd, OddConfig, way=way)
    refused(tmp_path, rf"'odd' \(Odd\) cannot be exported to ONNX: {reason}")


def test_the_same_model_without_a_fault_is_not(tmp_path):
    saved(tmp_path / "model", Odd, OddConfig)
    assert export_onnx(tmp_path / "model", tmp_path / "onnx", 16) < 1e-5


def test_the_verb(tmp_path, capsys, monkeypatch):
    """Exit codes and sentences; the recipe's other keys do no harm; training says the longest text."""
    saved(tmp_path / "out/model", Odd, OddConfig)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"task: sst2\nnum_rows: 7\nlearning_rate: 2e-5\noutput_dir: {tmp_path / 'out'}\n")
    argv = ["export", "--config", str(recipe)]
    assert main(argv) == 2
    assert "training.json' is missing: run `hf-synth run`" in capsys.readouterr().err
    told = {"settings": {"max_length": 24}, "private": ["real rows of notes"]}
    (tmp_path / "out/model/training.json").write_text(json.dumps(told))
    assert main([*argv, "--format", "tflite"]) == 2
    assert "`format`: input should be 'onnx'; got 'tflite'" in capsys.readouterr().err
    assert main(argv) == 0
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1
    assert "onnx; its logits are the student's to" in printed.out
    bars = "Loading weights"
    assert [line for line in printed.err.splitlines() if line and bars not in line] == []  # no remarks of the exporter
    assert (tmp_path / "out/onnx/model.onnx").exists()
    assert held_back(tmp_path / "out/onnx") == "what a model has learnt from real rows of notes"
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(argv) == 2
    assert "needs the packages onnxscript: pip install 'hf_synth[onnx]'" in capsys.readouterr().err


def test_the_export_needs_none_of_us(bert):
    """A machine with onnxruntime and tokenizers alone can label."""
    folder, target = bert
    code = (
        "import sys, numpy, onnxruntime, tokenizers;"
        f"t = tokenizers.Tokenizer.from_file({str(target / 'tokenizer.json')!r});"
        f"s = onnxruntime.InferenceSession({str(target / 'model.onnx')!r});"
        "ids = numpy.array([t.encode('a good film').ids], dtype='int64');"
        "print(s.run(None, {'input_ids': ids, 'attention_mask': ids * 0 + 1})[0].tolist(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    logits, _, torch_loaded = done.stdout.strip().rpartition(" ")
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(["a good film"], return_tensors="pt")
    torch.testing.assert_close(torch.tensor(json.loads(logits)), model(**inputs).logits.detach(), atol=1e-4, rtol=0)
    assert torch_loaded == "False"
