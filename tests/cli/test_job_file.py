import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from distilljob.errors import BadInput, NotFound
from distilljob.job_file import apply_setting, dump_yaml, read_job
from distilljob_core.spec.kubectl_yaml import read_yaml
from distilljob_core.spec.load import load_job


def set_all(tree, *settings):
    return [problem for setting in settings for problem in apply_setting(tree, setting)]


def test_a_file_without_settings_keeps_its_very_text(job_file):
    assert read_job(job_file).text == job_file.read_text()


def test_a_setting_changes_the_job_and_the_text_alike(job_file):
    changed = read_job(job_file, ["method.cycles=3", "spec.training.optimizer.learningRate=5e-4"])
    assert changed.job.spec.method.cycles == 3
    assert changed.job.spec.training.optimizer.learning_rate == 5e-4
    assert load_job(changed.text) == changed.job


@pytest.mark.parametrize("path", ["students[1].gpus", "students[cnn].gpus", "spec.students[cnn].gpus"])
def test_a_student_is_picked_by_number_or_name(job_file, path):
    assert [student.gpus for student in read_job(job_file, [f"{path}=1"]).job.spec.students] == [0, 1]


def test_a_setting_makes_the_blocks_on_its_way(job_file):
    assert read_job(job_file, ["placement.maximumConcurrentStudents=1"]).job.spec.placement.maximum_concurrent_students


def test_a_value_may_be_any_yaml():
    tree = {"spec": {}}
    assert not set_all(tree, "a=[0.5, 0.75]", "b={kind: Cosine}", "c=", 'd="1"', "metadata.name=x", "e=a=b")
    expected = {"a": [0.5, 0.75], "b": {"kind": "Cosine"}, "c": None, "d": "1", "e": "a=b"}
    assert tree == {"spec": expected, "metadata": {"name": "x"}}


@pytest.mark.parametrize(
    ("setting", "place", "hint"),
    [
        ("method.cycles", "--set method.cycles", "path=value"),
        ("=3", "--set =3", "for example"),
        ("a..b=3", "--set a..b=3", "for example"),
        ("students[2].gpus=0", "--set students[2].gpus", "[0] to [1] or by name: mlp, cnn"),
        ("students[vgg].gpus=0", "--set students[vgg].gpus", "mlp, cnn"),
        ("students.gpus=0", "--set students.gpus", "[0] to [1]"),
        ("method[0]=0", "--set method[0]", "pick a field with .name"),
        ("method.cycles.x=0", "--set method.cycles.x", "below a single value"),
        ("method.cycles=[", "--set method.cycles", "line 1"),
    ],
)
def test_a_setting_that_leads_nowhere_is_named_with_what_to_do(job_file, setting, place, hint):
    with pytest.raises(BadInput) as caught:
        read_job(job_file, [setting])
    assert caught.value.exit_code == 2
    assert [problem.path for problem in caught.value.problems] == [place]
    assert hint in f"{caught.value.problems[0].message} {caught.value.problems[0].hint}"


def test_an_unknown_field_and_a_wrong_value_are_both_reported(job_file):
    with pytest.raises(BadInput) as caught:
        read_job(job_file, ["method.cylces=3", "method.temperature=0"])
    problems = {problem.path: problem for problem in caught.value.problems}
    assert problems["spec.method.cylces"].hint == "did you mean cycles?"
    assert "spec.method.temperature" in problems


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFound, match=r"none\.yaml: no such file") as caught:
        read_job(tmp_path / "none.yaml")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"- 1", b"a: [", b""])
def test_a_file_that_is_no_job_is_bad_input(tmp_path, content):
    (tmp_path / "job.yaml").write_bytes(content)
    with pytest.raises(BadInput):
        read_job(tmp_path / "job.yaml")


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
trees = st.recursive(scalars, lambda below: st.lists(below, max_size=3) | st.dictionaries(texts, below, max_size=3))


@given(trees)
def test_what_is_written_is_read_back_as_kubectl_reads_it(tree):
    assert read_yaml(dump_yaml({"value": tree})) == {"value": tree}


@pytest.mark.parametrize("text", ["y", "NO", "1:30", "0o17", "1_000", "~", "2024-01-01", "", "1e3", "0x1F", ".5", "<<"])
def test_text_that_looks_like_something_else_stays_text(text):
    assert read_yaml(dump_yaml({"a": text, "b": {text: 1}})) == {"a": text, "b": {text: 1}}
    assert yaml.safe_load(dump_yaml({"a": text}))["a"] == text


def test_a_list_whose_names_are_no_texts_is_still_told(write_job):
    file = write_job("spec: {students: [{name: 5}]}")
    with pytest.raises(BadInput) as caught:
        read_job(file, ["students[zz].gpus=0"])
    assert caught.value.problems[0].hint.endswith("by name: 5")
