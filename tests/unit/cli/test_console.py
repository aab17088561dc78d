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
