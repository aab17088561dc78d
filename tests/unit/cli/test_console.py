"""Progress in a log: a line at the start and the end of a task, and now and then one in between."""

from obfnet.cli import console


def test_a_task_is_a_line_at_its_start_and_its_end(capsys):
    progress = console.terminal_progress()
    progress.start("train", 10)
    progress.advance(5, "loss 0.1")
    progress.finish("loss 0.0")
    progress.say("something that matters")
    out, err = capsys.readouterr()
    assert out == ""
    first, last, said = err.splitlines()
    assert first == "train ..."
    assert last.startswith("train: done in ")
    assert last.endswith(" s loss 0.0")
    assert said == "something that matters"


def test_long_work_says_how_much_is_done_and_left(capsys, monkeypatch):
    now = iter([100.0, 120.0, 121.0, 140.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))
    progress = console.terminal_progress()
    progress.start("train", 100)
    progress.advance(25, "loss 0.5")
    progress.advance(26, "loss 0.5")
    progress.finish()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["train ...", "train: 25 %, 60 s left loss 0.5", "train: done in 40.0 s"]


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = console.terminal_progress()
    progress.start("train", 10)
    progress.advance(5, "loss 0.1")
    progress.finish("done")
    progress.say("[not] markup")
    err = capsys.readouterr().err
    assert "train" in err
    assert "[not] markup" in err


def test_what_a_task_is_made_of_has_a_row_each_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    # Rows are cut to the terminal's width.
    monkeypatch.setenv("COLUMNS", "200")
    progress = console.terminal_progress()
    progress.part("nothing is under way", 1, 2)
    progress.start("train on Ray", 20)
    progress.part("coded-8", 0, 16)
    progress.part("published", 0, 4)
    progress.part("coded-8", 16, 16, "worst 93 %")
    progress.advance(16, "1 part left")
    progress.finish()
    progress.start("measure", 3)
    progress.finish()
    err = capsys.readouterr().err
    trained, measured = err[: err.rindex("measure")], err[err.rindex("measure") :]
    assert "coded-8" in trained
    assert "16 of 16 worst 93 %" in trained
    assert "0 of 4" in trained
    assert "nothing is under way" not in err
    assert "coded-8" not in measured


def test_a_log_has_no_rows(capsys):
    progress = console.terminal_progress()
    progress.start("train on Ray", 20)
    progress.part("coded-8", 16, 16)
    assert capsys.readouterr().err == "train on Ray ...\n"
