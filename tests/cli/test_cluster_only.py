"""One file for both places: what describes a cluster is no hindrance, what one machine cannot do is refused."""

from distilljob.main import main


def test_a_users_own_trainer_is_refused_before_anything_starts(job_file, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["run", str(job_file), "-o", str(folder), "--set", "students[cnn].command=[python]"]) == 2
    assert "spec.students[1].command" in capsys.readouterr().err
    assert not folder.exists()
