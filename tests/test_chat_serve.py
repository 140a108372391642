"""Chat endpoints against `transformers serve`."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from chat_cases import SCHEMA
from conftest import free_port

from hf_synth.errors import InputError
from hf_synth.generators.chat import ChatGenerator
from hf_synth.records import Prompt

HERE = Path(__file__).parent


TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %} is{% endif %}"


@contextmanager
def serve(folder):
    """Run `transformers serve` with the model of a folder and yield its address."""
    from transformers.utils.import_utils import is_serve_available

    if not is_serve_available():
        pytest.skip("needs transformers[serving]")
    port = free_port()
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder), "--host", "127.0.0.1"]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--device", "cpu"],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(1500):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10)
                break
            except OSError:
                assert server.poll() is None, "transformers serve ended"
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def served(causal_folder, tmp_path_factory):
    """Address of the server with the tiny model, which samples, and the model's name there."""
    from transformers import GenerationConfig

    folder = tmp_path_factory.mktemp("served") / "tiny"
    shutil.copytree(causal_folder, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    GenerationConfig(do_sample=True, eos_token_id=1, pad_token_id=0).save_pretrained(folder)
    with serve(folder) as url:
        yield url, str(folder)


@pytest.mark.serve
def test_transformers_serve_answers_and_obeys_the_fields_it_has(served):
    url, model = served
    generator = ChatGenerator(model, base_url=url, private=True, concurrency=1)
    assert "/" not in generator.name + generator.digest
    decoding = {"max_new_tokens": 12, "temperature": 1.0, "top_p": 0.9, "stop": (".", "film")}
    done = generator.complete([Prompt("the film")] * 12, seed=3, **decoding)
    assert done == generator.complete([Prompt("the film")] * 12, seed=3, **decoding)  # one at a time, seeds hold
    assert len({c.text for c in done}) > 8
    assert {c.finish for c in done} <= {"stop", "length"}
    assert all(0 < c.tokens <= 12 for c in done)
    assert not [c.text for c in done if "." in c.text or "film" in c.text]
    assert {c.cost for c in done} == {None}
    cold = generator.complete([Prompt("the film")] * 2, seed=4, max_new_tokens=8, temperature=0.0)
    assert cold[0].text == cold[1].text


@pytest.mark.serve
def test_transformers_serve_knows_no_schema_and_says_no_to_other_fields(served):
    url, model = served
    generator = ChatGenerator(model, base_url=url, first_wait=0.01)
    done = generator.complete([Prompt("the film")] * 4, seed=3, max_new_tokens=8, schema=SCHEMA)
    assert {c.finish for c in done} == {"malformed"}
    unknown = ChatGenerator(model, base_url=url, extra_body={"top_k": 5})
    with pytest.raises(InputError, match=r"refused all requests so far \(422\): Unexpected fields .*top_k"):
        unknown.complete([Prompt("the film")] * 4, seed=3)
    other = ChatGenerator("other/model", base_url=url)
    with pytest.raises(InputError, match="Server is pinned to"):
        other.complete([Prompt("the film")] * 4, seed=3)


@pytest.mark.serve
def test_a_data_set_is_written_by_the_embedded_model_that_transformers_serves(tmp_path):
    from datasets import load_dataset

    from hf_synth.commands.main import main
    from hf_synth.models import resolve

    folder = resolve("HuggingFaceTB/SmolLM2-135M-Instruct").path
    with serve(folder) as url:
        asked = [
            "generate",
            "--task",
            "ag_news",
            "--backend",
            "chat",
            "--model",
            folder,
            "--base_url",
            url,
            "--private",
        ]
        made = ["--num_rows", "4", "--chunk_size", "4", "--output_dir", str(tmp_path / "out")]
        assert main([*asked, *made]) == 0
    rows = load_dataset(str(tmp_path / "out" / "dataset"))
    assert sorted(label for split in rows.values() for label in split["label"]) == [0, 1, 2, 3]
    assert all(len(text.split()) > 2 for split in rows.values() for text in split["text"])
