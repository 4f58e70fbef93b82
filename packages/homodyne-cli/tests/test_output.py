import json

import pytest

from homodyne_cli._output import MANIFEST, ResultsFolder, holds_results


def write(folder, *names):
    files = []
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x", encoding="utf-8")
        files.append(file)
    return files


def test_a_folder_with_results_is_refused(tmp_path):
    ResultsFolder(tmp_path / "new", overwrite=False)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    ResultsFolder(tmp_path, overwrite=False)  # other people's files are no results
    write(tmp_path, "q_0.005/result.json")  # of a run that was interrupted before its list
    assert holds_results(tmp_path)
    with pytest.raises(FileExistsError, match="--overwrite"):
        ResultsFolder(tmp_path, overwrite=False)
    with pytest.raises(NotADirectoryError, match="is a file"):
        ResultsFolder(tmp_path / "notes.txt", overwrite=True)


@pytest.mark.parametrize("name", ["configuration.yaml", "summary.csv", "D0_vs_q.png", "q_0.005/lag_cuts.png"])
def test_files_that_a_run_would_replace_are_refused(tmp_path, name):
    write(tmp_path, name)
    with pytest.raises(FileExistsError, match="files of their names"):
        ResultsFolder(tmp_path, overwrite=False)
    ResultsFolder(tmp_path, overwrite=True)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (file,) = write(tmp_path, "notes.txt")
    with pytest.raises(NotADirectoryError, match="notes.txt is a file"):
        ResultsFolder(file / "deep" / "er", overwrite=False)
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(PermissionError, match="no permission"):
        ResultsFolder(tmp_path / "new", overwrite=False)


def test_overwriting_removes_what_the_earlier_run_wrote_and_nothing_else(tmp_path):
    first = ResultsFolder(tmp_path, overwrite=False)
    first.add(
        write(tmp_path, "q_0.005/result.json", "q_0.005/old.png", "q_0.009/result.json", "summary.csv"), {}
    )
    first.finish({})
    mine = write(tmp_path, "notes.txt", "q_0.005/my_notes.txt")
    second = ResultsFolder(tmp_path, overwrite=True)
    second.add(write(tmp_path, "q_0.005/result.json"), {"note": 1})
    # Until the end both are listed, so that an interrupted run leaves nothing unknown.
    listed = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    assert "summary.csv" in listed["files"]
    assert listed["note"] == 1
    second.finish({"note": 2})
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {MANIFEST, "q_0.005/result.json", "notes.txt", "q_0.005/my_notes.txt"}
    assert all(file.exists() for file in mine)
    assert not (tmp_path / "q_0.009").exists()
    listed = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    assert listed["files"] == ["q_0.005/result.json"]


def test_a_list_cannot_make_us_delete_files_elsewhere(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("keep", encoding="utf-8")
    folder = tmp_path / "results"
    folder.mkdir()
    content = {"files": ["../outside.txt", str(outside)]}
    (folder / MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    results = ResultsFolder(folder, overwrite=True)
    results.finish({})
    assert outside.exists()


def test_a_damaged_list_is_no_obstacle(tmp_path):
    (tmp_path / MANIFEST).write_text("{", encoding="utf-8")
    results = ResultsFolder(tmp_path, overwrite=True)
    results.add(write(tmp_path, "a.csv"), {})
    results.finish({})
    assert json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))["files"] == ["a.csv"]
