"""What licences say together: what is known, what is not, and where they cannot all be kept."""

from hf_synth.licences import licence_of, reasoning

MODEL = {"name": "org/model", "license": "apache-2.0"}


def conflicts(stated, *licences, model=MODEL):
    sources = [{"path": f"org/rows{at}", "license": own} for at, own in enumerate(licences)]
    return [sentence for sentence in reasoning(stated, model, sources) if sentence.startswith("Conflict")]


def test_nothing_is_claimed_by_default():
    told = reasoning(None, MODEL, [])
    assert told[0] == "`org/model` is under `apache-2.0`."
    assert "No licence was stated when this data set was made" in told[-1]
    assert "look them up" in reasoning(None, {"name": "org/model"}, [])[0]


def test_terms_of_their_own_are_pointed_at():
    for own in ("gemma", "llama3.2", "creativeml-openrail-m"):
        assert any("terms of its own" in told for told in reasoning(None, {"name": "m", "license": own}, []))


def test_conflicts():
    assert conflicts("mit", "mit", "cc-by-4.0") == []
    assert len(conflicts("mit", "cc-by-nc-4.0")) == 1
    assert conflicts("cc-by-nc-4.0", "cc-by-nc-4.0") == conflicts("CC-BY-NC-4.0", "cc-by-nc-4.0") == []
    assert len(conflicts("mit", "fair-noncommercial-research-license")) == 1
    assert len(conflicts("mit", "cc-by-sa-4.0")) == 1
    assert conflicts("cc-by-sa-4.0", "cc-by-sa-3.0") == []
    assert len(conflicts(None, "cc-by-sa-4.0", "odbl")) == 1
    assert len(conflicts(None, "cc-by-nd-4.0")) == 1
    assert len(conflicts(None, "cc-by-nc-4.0", "cc-by-sa-4.0")) == 1
    assert conflicts("mit", model={"name": "m", "license": "gpl-3.0"}) == []


def test_a_card_in_the_folder_is_read(tmp_path):
    assert licence_of(str(tmp_path)) is None
    (tmp_path / "README.md").write_text("---\nlicense: [cc-by-sa-3.0, GFDL]\n---\n# Rows\n")
    assert licence_of(str(tmp_path)) == "cc-by-sa-3.0, gfdl"
    (tmp_path / "README.md").write_text("---\nlicense: [\n---\n")
    assert licence_of(str(tmp_path)) is None
