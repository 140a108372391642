"""Small models that Transformers lacks; importing this makes them known to its Auto classes."""

from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoModelForSequenceClassification

from hf_synth.students.bidaf import BiDAFConfig, BiDAFForQuestionAnswering, build_reader_tokenizer
from hf_synth.students.bilstm import BiLSTMConfig, BiLSTMForSequenceClassification, build_tokenizer
from hf_synth.students.two_tower import TwoTowerConfig, TwoTowerForSequenceClassification

AutoConfig.register("bilstm", BiLSTMConfig, exist_ok=True)
AutoModelForSequenceClassification.register(BiLSTMConfig, BiLSTMForSequenceClassification, exist_ok=True)
AutoConfig.register("bidaf", BiDAFConfig, exist_ok=True)
AutoModelForQuestionAnswering.register(BiDAFConfig, BiDAFForQuestionAnswering, exist_ok=True)
AutoConfig.register("two_tower", TwoTowerConfig, exist_ok=True)
AutoModelForSequenceClassification.register(TwoTowerConfig, TwoTowerForSequenceClassification, exist_ok=True)
# These make `save_pretrained` copy the file and write `auto_map`, for those who do not have hf_synth.
BiLSTMConfig.register_for_auto_class()
BiLSTMForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
BiDAFConfig.register_for_auto_class()
BiDAFForQuestionAnswering.register_for_auto_class("AutoModelForQuestionAnswering")
TwoTowerConfig.register_for_auto_class()
TwoTowerForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")

__all__ = [
    "BiDAFConfig",
    "BiDAFForQuestionAnswering",
    "BiLSTMConfig",
    "BiLSTMForSequenceClassification",
    "TwoTowerConfig",
    "TwoTowerForSequenceClassification",
    "build_reader_tokenizer",
    "build_tokenizer",
]
