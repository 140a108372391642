"""From settings to a generator: further arguments of a backend, checked before anything is loaded."""

import dataclasses
import inspect

import pytest
import torch
from chat_cases import prompts
from chat_stub import Stub, review

from hf_synth import backend_args
from hf_synth.backends import open_generator
from hf_synth.commands.options import parse
from hf_synth.errors import InputError
from hf_synth.generators import ray, vllm
from hf_synth.generators.chat import ChatGenerator
from hf_synth.generators.local import LocalGenerator
from hf_synth.produce import Plan
from hf_synth.settings import BackendConfig, SynthConfig


def plan(model, **backend):
    return Plan.of(SynthConfig(task="sst2", model=str(model)), backend=BackendConfig(**backend))


@pytest.mark.parametrize(
    ("kind", "generator"),
    [
        (backend_args.LocalArgs, LocalGenerator),
        (backend_args.VLLMArgs, vllm.VLLMGenerator),
        (backend_args.ChatArgs, ChatGenerator),
        (backend_args.RayArgs, ray.RayGenerator),
    ],
)
def test_every_argument_is_one_that_the_generator_takes(kind, generator):
    taken = inspect.signature(generator).parameters
    assert {field.name for field in dataclasses.fields(kind)} <= {*taken}
    if generator is ChatGenerator:  # where a default is not `None`, it stands in both
        for name in ("timeout", "tries", "first_wait"):
            assert kind.__pydantic_fields__[name].default == taken[name].default


@pytest.mark.parametrize(
    ("backend", "args", "sentence"),
    [
        ("local", "{dtipe: float32}", "a key must be one of dtype, device; got 'dtipe'. Did you mean 'dtype'?"),
        ("local", "{dtype: float31}", "`dtype`: input should be .*; got 'float31'. Did you mean 'float32'?"),
        ("local", "{device: gpu}", "`device`: string should match pattern .*; got 'gpu'"),
        ("local", "{model: other}", "a key must be one of dtype, device; got 'model'"),
        ("vllm", "{digest: abc}", "a key must be one of dtype, engine; got 'digest'"),
        ("vllm", "{engine: fast}", "`engine`: input should be a valid mapping"),
        ("chat", "{private: false}", "a key must be one of timeout, tries, first_wait, extra_body; got 'private'"),
        ("chat", "{api_key: sk-secret}", "got 'api_key'"),
        ("chat", "{timeout: 0}", "`timeout`: input should be greater than 0; got 0"),
        ("ray", "{num_cpus: 2}", "a key must be one of num_gpus, workers, dtype, device; got 'num_cpus'"),
        ("corpus", "{dtype: float32}", "`backend: corpus` takes none; got 'dtype'"),
    ],
)
def test_an_argument_that_will_not_do_is_one_sentence(backend, args, sentence):
    flags = ["--task", "sst2", "--backend", backend, "--backend_args", args]
    with pytest.raises(InputError, match=f"^command line: .*{sentence}") as raised:
        parse(flags, "x", SynthConfig, BackendConfig)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_local_model_has_the_dtype_and_device_that_were_asked_for(causal_folder):
    for dtype in ("float32", "bfloat16"):
        generator = open_generator(plan(causal_folder, backend_args={"dtype": dtype, "device": "cpu"}))
        assert (generator.dtype, generator.device) == (getattr(torch, dtype), torch.device("cpu"))
        assert generator.source["dtype"] == dtype
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="`device: cuda` cannot be used: "):
            open_generator(plan(causal_folder, backend_args={"device": "cuda"}))


def test_an_endpoint_is_sent_what_only_some_know():
    own = {"max_tokens": None, "max_completion_tokens": 9, "user": "secret"}
    with Stub(review) as stub:
        asked = plan("stub", backend="chat", base_url=stub.url, backend_args={"extra_body": own, "tries": 1})
        generator = open_generator(asked, private=True)
        assert generator.complete(prompts(1), seed=1)
        generator.close()
    body = stub.requests[0]["body"]
    assert (body["max_completion_tokens"], "max_tokens" in body) == (9, False)
    assert generator.endpoint.tries == 1
    assert generator.source["extra_body"] == ["max_completion_tokens", "max_tokens", "user"]
    assert "secret" not in str(generator.source) + generator.digest
    with pytest.raises(InputError, match=r"`extra_body.model` would change what is asked"):
        open_generator(plan("stub", backend="chat", base_url=stub.url, backend_args={"extra_body": {"model": "b"}}))


def test_the_arguments_reach_ray_and_its_workers(causal_folder, monkeypatch):
    monkeypatch.setattr(ray, "RayGenerator", lambda factory, **settings: (factory, settings))
    monkeypatch.setattr(vllm, "VLLMGenerator", lambda path, **settings: settings)
    engine = {"tensor_parallel_size": 2}
    given = {"num_gpus": 2, "workers": 3, "dtype": "float16", "engine": engine}
    factory, settings = open_generator(plan(causal_folder, backend="ray", ray_backend="vllm", backend_args=given))
    assert settings == {"address": "auto", "num_cpus": 1, "num_gpus": 2.0, "workers": 3}
    opened = factory()
    assert (opened["dtype"], opened["engine"]) == ("float16", engine)


def test_vllms_own_arguments_are_known_by_name():
    kind = dataclasses.make_dataclass("EngineArgs", ["model", "hf_token", "tensor_parallel_size", "max_model_len"])
    vllm.check_engine({"tensor_parallel_size": 2}, kind)
    with pytest.raises(InputError, match="`engine`: a key must be one of max_model_len, .*Did you mean 'max_model_le"):
        vllm.check_engine({"max_model_length": 2}, kind)
    with pytest.raises(InputError, match="got 'hf_token'"):
        vllm.check_engine({"hf_token": "secret"}, kind)
