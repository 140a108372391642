"""Small classifiers that Transformers lacks; importing this makes them known to its Auto classes."""

from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_synth.students.bilstm import BiLSTMConfig, BiLSTMForSequenceClassification, build_tokenizer

AutoConfig.register("bilstm", BiLSTMConfig, exist_ok=True)
AutoModelForSequenceClassification.register(BiLSTMConfig, BiLSTMForSequenceClassification, exist_ok=True)
# These two make `save_pretrained` copy the file and write `auto_map`, for those who do not have hf_synth.
BiLSTMConfig.register_for_auto_class()
BiLSTMForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")

__all__ = ["BiLSTMConfig", "BiLSTMForSequenceClassification", "build_tokenizer"]
