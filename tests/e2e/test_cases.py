"""A user's own pictures and sounds through the commands: trained, served, asked; and refused in one line."""

import csv
import json
import os
import signal
from contextlib import contextmanager

import numpy as np
import onnxruntime
import pytest

from obfnet.data.mfcc import speech_features
from obfnet.data.pictures import decode_picture
from obfnet.data.wav import read_wav
from tests.e2e.command import obfnet, obfnet_each, start
from tests.e2e.test_cli_infer import silent_server
from tests.unit.data.files import HEIGHT, WIDTH, picture, picture_bytes, picture_folder, save, sound_bytes
from tests.unit.data.sounds import wav_bytes

pytestmark = pytest.mark.e2e

CLASSES = ("rot wie Blut", "grün", "青 い")
WORDS, SPEAKERS = ("nein, danke", 'ja "gut"'), ("Ännchen", "bo")


def write_csv(path, rows, *, bom=False):
    with path.open("w", newline="", encoding="utf-8-sig" if bom else "utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


class Trained:
    """An inference network and a pool of a case, and what the commands said."""

    def __init__(self, case, folder, *, inference=(), obfuscation=()):
        self.inference, self.pool = folder / "inference", folder / "pool"
        of_case = ("--case", case, "--epochs", "1", "--json")
        first = obfnet("train", "inference", *of_case, "--out", self.inference, *inference)
        assert first.code == 0, first.err
        against = ("--inference", self.inference, "--count", "1", "--out", self.pool)
        second = obfnet("train", "obfuscation", *of_case, *against, *obfuscation)
        assert second.code == 0, second.err
        self.said, self.pool_said = json.loads(first.out), json.loads(second.out)
        self.errors = first.err, second.err

    def ask(self, url, source, *options):
        trusted = ("--trust", self.pool_said["public_key"], "--json")
        return obfnet("infer", "--pool", self.pool, "--url", url, "--input", source, *trusted, *options)

    def scores(self, samples):
        """Those of the network's own file, without any server."""
        session = onnxruntime.InferenceSession(str(self.inference / "inference.onnx"))
        return session.run(None, {session.get_inputs()[0].name: samples})[0]

    @contextmanager
    def served(self):
        running = start("serve", self.inference, "--port", "0", "--grpc-port", "0", "--json")
        yield json.loads(running.wait_for('"url"'))["url"]
        running.send(signal.SIGTERM)
        assert running.finish(20).code == 0


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return Trained(picture_folder(folder / "Meine Zeichen", classes=CLASSES), folder)


@pytest.fixture(scope="module")
def pictures_url(pictures):
    with pictures.served() as url:
        yield url


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Words of two speakers, in a CSV file with a byte order mark, quotes and commas."""
    folder = tmp_path_factory.mktemp("sounds")
    rows = []
    for number in range(24):
        label, speaker = number % 2, number // 2 % 2
        save(folder / "clips" / f"{number:02d}.wav", sound_bytes(label, speaker, number))
        rows.append(
            {"file": f"clips/{number:02d}.wav", "label": WORDS[label], "attribute": SPEAKERS[speaker]}
        )
    return Trained(write_csv(folder / "words.csv", rows, bom=True), folder, inference=("--arch", "mlp"))


@pytest.fixture(scope="module")
def sounds_url(sounds):
    with sounds.served() as url:
        yield url


def test_a_folder_of_pictures_is_trained_under_its_name(pictures):
    assert pictures.said["case"] == "own-Meine-Zeichen"
    assert (pictures.said["split"], pictures.said["skipped"]) == ("own", [])
    assert (pictures.pool_said["split"], pictures.pool_said["skipped"]) == ("own", [])
    card = json.loads((pictures.inference / "inference.json").read_text(encoding="utf-8"))
    assert card["classes"] == sorted(CLASSES)
    assert card["architecture"] == "compact"
    assert card["input"]["shape"] == [3, HEIGHT, WIDTH]
    # Decoded once: the second command reads what the first one kept.
    assert "decode samples" in pictures.errors[0]
    assert "decode samples" not in pictures.errors[1]
    assert "resized" not in pictures.errors[0]


@pytest.mark.parametrize(("form", "size"), [("JPEG", (50, 90)), ("GIF", (20, 24))])
def test_a_picture_of_any_size_is_asked_about(pictures, pictures_url, tmp_path, form, size):
    data = picture_bytes(picture(1, 99, size), form)
    path = save(tmp_path / f"picture.{form.lower()}", data)
    obfuscated, raw = pictures.ask(pictures_url, path), pictures.ask(pictures_url, path, "--raw")
    answers = [json.loads(outcome.out) for outcome in (obfuscated, raw)]
    assert answers[0]["bundle"] == "own-Meine-Zeichen-000"
    assert answers[0]["request_bytes"] == answers[1]["request_bytes"]
    pixels = decode_picture(data, name="x", channels=3, size=(HEIGHT, WIDTH)).pixels[None]
    expected = pictures.scores(pixels)
    np.testing.assert_allclose(answers[1]["scores"], expected, atol=1e-4)
    assert answers[1]["labels"] == expected.argmax(1).tolist()
    assert not np.allclose(answers[0]["scores"], expected, atol=1e-4)


def test_a_folder_of_sounds_is_trained_with_its_speakers(sounds):
    assert sounds.said["case"] == "own-words"
    card = json.loads((sounds.inference / "inference.json").read_text(encoding="utf-8"))
    assert card["classes"] == sorted(WORDS)
    assert card["architecture"] == "fsd-mlp"
    assert card["input"]["shape"] == [1, 20, 45]


@pytest.mark.parametrize("name", ["clip", "stereo", "ten minutes", "silent"])
def test_a_sound_is_asked_about(sounds, sounds_url, tmp_path, name):
    noise = np.random.default_rng(0).integers(-8_000, 8_000, 8_000 * 600).astype("<i2").tobytes()
    data = {
        "clip": sound_bytes(0, 1, 5),
        "stereo": wav_bytes(noise[: 4 * 44_100], rate_hz=44_100, channels=2),
        "ten minutes": wav_bytes(noise),
        "silent": wav_bytes(bytes(16_000)),
    }[name]
    path = save(tmp_path / f"{name}.wav", data)
    outcome = sounds.ask(sounds_url, path, "--raw")
    assert outcome.code == 0, outcome.err
    expected = sounds.scores(speech_features(read_wav(data))[None])
    np.testing.assert_allclose(json.loads(outcome.out)["scores"], expected, atol=1e-4)
    if name == "clip":
        answer = json.loads(sounds.ask(sounds_url, path).out)
        assert answer["bundle"] == "own-words-000"


def test_files_that_do_not_fit_a_pool_are_refused_and_nothing_is_sent(pictures, sounds, tmp_path):
    clip, photo = sound_bytes(0, 0, 0), picture_bytes(picture(0, 0), "JPEG")
    bad = {
        "sound.wav": (pictures, clip, "a picture in"),
        "cut.jpg": (pictures, photo[: len(photo) // 2], "cut.jpg"),
        "text.jpg": (pictures, b"no picture", "another kind"),
        "photo.jpg": (sounds, photo, "float32"),
        "cut.wav": (sounds, clip[:-9], "cut short"),
        "nan.wav": (sounds, wav_bytes(np.full(9, np.nan, "<f4").tobytes(), code=3, bits=32), "NaN"),
        "mulaw.wav": (sounds, wav_bytes(bytes(9), code=7, bits=8), "mu-law"),
        "empty.wav": (sounds, b"", "another kind"),
    }
    with silent_server() as url:
        for name, (trained, data, why) in bad.items():
            outcome = trained.ask(url, save(tmp_path / name, data))
            assert outcome.code == 1, name
            assert why in outcome.complaint, name


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """Pictures of many sizes in a CSV file with all its columns; one of them is cut short."""
    root = picture_folder(
        tmp_path_factory.mktemp("damaged") / "signs", classes=CLASSES, sizes=((20, 24), (70, 33))
    )
    path = root / CLASSES[0] / "03.jpeg"
    path.write_bytes(path.read_bytes()[:-200])
    rows = [
        {
            "file": str(file.relative_to(root)),
            "label": file.parent.name,
            "split": ("train", "train", "val", "test")[int(file.stem) // 3],
            "attribute": ("ann", "bo")[int(file.stem) % 2],
            "group": f"{file.parent.name} {int(file.stem) // 3}",
        }
        for file in sorted(root.rglob("*.*"))
    ]
    return write_csv(root / "signs.csv", rows)


def test_a_truncated_picture_stops_the_command_before_any_training(damaged, tmp_path):
    arguments = ("train", "inference", "--case", damaged, "--epochs", "1", "--out", tmp_path / "out")
    outcome = obfnet(*arguments, env={"OBFNET_HOME": str(tmp_path / "home")})
    assert outcome.code == 1
    assert f"'{CLASSES[0]}/03.jpeg', got one cut short; mend or remove" in outcome.complaint
    assert "--skip-bad" in outcome.complaint
    assert "train inference network" not in outcome.err
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "home").rglob("*prepared*"))


def test_with_skip_bad_it_is_left_out_and_counted(damaged, tmp_path):
    arguments = ("train", "inference", "--case", damaged, "--epochs", "1", "--skip-bad", "--json")
    outcome = obfnet(*arguments, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["skipped"] == [f"{CLASSES[0]}/03.jpeg"]
    assert f"1 files cannot be read and are left out, the first: {CLASSES[0]}/03.jpeg" in outcome.err
    assert "35 of 35 pictures were resized to 64x64" in outcome.err


def bad_folders(parent):
    """Folders and CSV files that cannot be a case, and a word of the reason."""

    def folder(name, *removed, count=4):
        root = picture_folder(parent / name, count=count)
        for path in removed:
            (root / path).unlink()
        return root

    one_class = picture_folder(parent / "one class", classes=("only",))
    yield one_class, "one class only, 'only'"
    (folder("empty class") / "nothing").mkdir()
    yield parent / "empty class", "class 'nothing' without samples"
    yield folder("one sample", "red/00.jpeg", "red/01.png", "red/02.png"), "1 sample in class 'red'"
    outside = save(parent / "outside.png", picture_bytes(picture(0, 0)))
    (folder("a link out") / "red" / "09.png").symlink_to(outside)
    yield parent / "a link out", "a link that leads out of the folder, 'red/09.png'"
    (folder("unreadable") / "red" / "09.png").symlink_to("gone.png")
    yield parent / "unreadable", "'red/09.png': No such file or directory"
    save(folder("both kinds") / "red" / "a.wav", sound_bytes(0, 0, 0))
    yield parent / "both kinds", "12 pictures and 1 sounds together"
    (parent / "empty").mkdir()
    yield parent / "empty", "no samples"
    yield parent / "nowhere" / "at all", "No such file or directory"
    yield save(parent / "text.txt", b"text"), "the columns file,label"

    root = folder("tables")
    rows = [
        {"file": str(path.relative_to(root)), "label": path.parent.name} for path in sorted(root.rglob("*.*"))
    ]
    yield write_csv(root / "column.csv", [{"file": row["file"]} for row in rows]), "no 'label'"
    unknown = [*rows, {"file": "red/none.png", "label": "red"}]
    yield write_csv(root / "unknown.csv", unknown), "line 14: 'red/none.png': No such file"
    yield write_csv(root / "twice.csv", [*rows, rows[0]]), "line 14: 'blue/00.jpeg' is there twice, as line 2"
    splits = [{**row, "split": "trial"} for row in rows]
    yield write_csv(root / "split.csv", splits), "line 2: split 'trial'"
    yield save(root / "quotes.csv", b'file,label\n"red/00.jpeg,red\n'), "well-quoted cells"
    yield save(root / "latin.csv", "file,label\nröd/1.png,x\n".encode("latin-1")), "a CSV file in UTF-8"


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    parent = tmp_path_factory.mktemp("bad")
    reasons = {str(path): why for path, why in bad_folders(parent)}
    calls = {case: ("train", "inference", "--case", case, "--out", parent / "out") for case in reasons}
    outcomes = obfnet_each(calls)
    assert not (parent / "out").exists()
    return {os.path.relpath(case, parent): (outcomes[case], why) for case, why in reasons.items()}


@pytest.mark.parametrize(
    "name",
    [
        *("one class", "empty class", "one sample", "a link out", "unreadable", "both kinds", "empty"),
        *("nowhere/at all", "text.txt", "tables/column.csv", "tables/unknown.csv", "tables/twice.csv"),
        *("tables/split.csv", "tables/quotes.csv", "tables/latin.csv"),
    ],
)
def test_what_cannot_be_a_case_is_one_line_before_any_work(refusals, name):
    outcome, why = refusals[name]
    assert outcome.code == 1
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1
    assert why in outcome.complaint
    assert name in outcome.complaint


def test_an_unknown_case_or_split_lists_the_known_ones(tmp_path):
    folder = picture_folder(tmp_path / "signs", count=4)
    outcomes = obfnet_each(
        {
            "train": ("train", "inference", "--case", "sings", "--out", tmp_path / "out"),
            "demo": ("demo", "--case", "sings", "--out", tmp_path / "out"),
            "split": ("train", "inference", "--case", folder, "--split", "scene", "--out", tmp_path / "out"),
        }
    )
    assert {outcome.code for outcome in outcomes.values()} == {2}
    for name in ("train", "demo"):
        assert "got 'sings'; known: mnist, fsd, asl, cifar10, digits" in outcomes[name].complaint
    assert "split of own-signs, got 'scene'; known: own" in outcomes["split"].complaint
    assert not (tmp_path / "out").exists()
