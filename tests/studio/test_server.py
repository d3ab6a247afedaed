"""The page and its routes, asked as a browser asks; pictures and videos against what the pipelines make themselves."""

import io
import re
import shlex
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from studio_client import serving

from mien.cli import main
from mien.direction import CONTROLS, LABELS, Direction
from mien.media.audio import read_audio
from mien.media.image import read_image
from mien.media.video import VideoReader
from mien.perception.speech import analyse
from mien.perception.tracking import track_image
from mien.pipelines.inspect import InspectOptions, inspect
from mien.pipelines.speak import SpeakOptions, perform, speak
from mien.rendering.warp import WarpRenderer
from mien.studio import server
from mien.studio.lanes import direction_of, lanes_of

VOICE = Path(__file__).parents[2] / "examples" / "speech.flac"


def lanes(text):
    return lanes_of(Direction.read(text))


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("studio")) as browser:
        yield browser


@pytest.fixture(scope="module")
def photo(tmp_path_factory, sample_portrait):
    """A small one, for speed."""
    path = tmp_path_factory.mktemp("photo") / "Grace at 256.png"
    Image.fromarray(read_image(sample_portrait, max_side=256)).save(path)
    return path


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    path = tmp_path_factory.mktemp("voice") / "hello.wav"
    samples, rate = soundfile.read(VOICE)
    soundfile.write(path, samples[: 2 * rate], rate)
    return path


@pytest.fixture(scope="module")
def portrait(studio, photo):
    return studio.post("api/portrait?name=Grace%20at%20256.png", photo.read_bytes()).json


@pytest.fixture(scope="module")
def speech(studio, voice):
    return studio.post("api/speech?name=hello.wav", voice.read_bytes()).json


def take(portrait, speech=None, text="happy:0.9", at=0.0, **options):
    body = {"portrait": portrait["key"], "speech": speech and speech["key"], "lanes": lanes(text), "at": at}
    return body | {"options": options}


def picture(answer):
    return np.asarray(Image.open(io.BytesIO(answer.body)).convert("RGB"), np.float32)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(np.float32) - b) ** 2))


# The page


def test_page_is_whole_and_asks_nothing_of_others(studio):
    waiting, seen = ["", "api/setup"], {}
    while waiting:
        path = waiting.pop()
        text = studio.get(path).body.decode()
        seen[path] = text
        found = re.findall(r"""(?:src|href)="/?([^"#]+)"|from "\./([^"]+)\"""", text)
        waiting += [p for a, b in found for p in [a or f"page/{b}"] if p not in seen and p not in waiting]
    assert {"page/studio.css", "page/icon.svg", *(f"page/{p.name}" for p in server.PAGE.glob("*.js"))} < seen.keys()
    for path, text in seen.items():
        foreign = set(re.findall(r"(?:https?:)?//[\w.]+\.\w{2,}[^\s\"']*", text)) - {"http://www.w3.org/2000/svg"}
        assert not foreign, f"{path} names {foreign}"


@pytest.mark.parametrize("script", sorted(path.name for path in server.PAGE.glob("*.js")))
def test_scripts_are_whole(script):
    """Each parses, and what it imports of the others is exported there."""
    text = (server.PAGE / script).read_text()
    for names, other in re.findall(r"import \{([^}]*)\} from \"\./([^\"]+)\"", text):
        there = (server.PAGE / other).read_text()
        exported = set(re.findall(r"^export (?:async )?(?:function|const|class) (\w+)", there, re.MULTILINE))
        exported |= {
            name for line in re.findall(r"^export const [^;]*;", there, re.M) for name in re.findall(r"(\w+) = ", line)
        }
        assert {name.strip() for name in names.split(",") if name.strip()} <= exported, f"{script} from {other}"
    if (node := shutil.which("node")) is None:
        pytest.skip("node, which parses scripts, is not here")
    subprocess.run([node, "--input-type=module", "--check"], input=text, text=True, check=True, capture_output=True)


def test_browser_is_told_to_ask_nothing_of_others_either(studio):
    headers = studio.get("").headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    for path in ("docs", "redoc", "openapi.json", "page/../server.py", "page/%2e%2e/server.py", "page/nothing.js"):
        assert studio.ask(path).status == 404


def test_fields_of_the_page_are_those_of_the_code(studio):
    setup = studio.get("api/setup").json
    assert setup["controls"]["head.yaw"]["high"] == CONTROLS["head.yaw"].high == 45
    assert [label["name"] for label in setup["labels"]] == list(LABELS)
    fields = {option["name"]: option for option in setup["options"]}
    defaults = SpeakOptions(Path(), Path(), Path())
    assert all(field["default"] == getattr(defaults, name) for name, field in fields.items())
    assert fields["crf"] | {"help": ""} == {
        "name": "crf", "help": "", "kind": "number", "whole": True, "default": 18, "low": 0, "high": 51, "choices": [],
    }  # fmt: skip
    assert fields["crf"]["help"].startswith("H.264 quality")
    assert fields["renderer"]["choices"] == ["warp", "mesh"]
    assert len(setup["presets"]) >= 5 and all(Direction.read(preset["text"]) for preset in setup["presets"])


# What may not be done


def test_other_names_of_this_machine_are_refused(studio):
    """A name that somebody made point to 127.0.0.1, as in DNS rebinding."""
    for host in ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", ""):
        assert "is not this studio" in studio.ask("api/setup", host=host).error
    for host in ("localhost:1", "127.0.0.1", "[::1]:7860", "192.168.1.5:7860"):
        assert studio.ask("api/setup", host=host).status == 200


def test_pages_of_other_sites_are_refused(studio, photo):
    other = {"origin": "http://evil.example"}
    for path, body in (("api/portrait", photo.read_bytes()), ("api/direction", {"text": "happy"})):
        assert studio.ask(path, body, **other).error == "another site's page may not use this studio"
    assert studio.ask("api/direction", {"text": "happy"}, origin="null").status == 403
    assert studio.ask("api/direction", {"text": "happy"}, sec_fetch_site="cross-site").status == 403
    assert studio.ask("api/direction", {"text": "happy"}, origin=studio.address[:-1]).status == 200


def test_no_file_is_opened_by_its_name(studio, portrait, speech, tmp_path, photo):
    secret = tmp_path / "secret.yaml"
    secret.write_text("emotion: sad:0.125")
    answer = studio.ask("api/direction", {"text": str(secret)})
    assert answer.status == 422 and b"0.125" not in answer.body
    clip = f"style: {{reference: {photo}}}"
    assert "opens no files by name" in studio.ask("api/frame", take(portrait, text=clip)).error
    assert "opens no files by name" in studio.ask("api/render", take(portrait, speech, text=clip)).error
    words = take(portrait, speech) | {"options": {"text": str(tmp_path / "words.txt")}}
    assert "opens no files by name" in studio.ask("api/render", words).error
    assert "not loaded" in studio.ask("api/frame", take({"key": str(photo)})).error


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "face.png: the file is empty"),
        (b"not a picture at all", "face.png: not a picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 99, "face.png: not a picture"),
    ],
)
def test_bad_pictures(studio, body, says):
    answer = studio.ask("api/portrait?name=../../face.png", body)
    assert answer.status == 422 and answer.error.startswith(says)


def test_picture_without_a_face(studio):
    data = io.BytesIO()
    Image.new("RGB", (96, 96), (90, 120, 90)).save(data, "PNG")
    assert "no face found" in studio.ask("api/portrait?name=wall.png", data.getvalue()).error


def test_bad_sounds(studio, photo):
    for body in (b"no sound", photo.read_bytes()):
        answer = studio.ask("api/speech?name=a.wav", body)
        assert answer.status == 422 and answer.error.startswith("a.wav: ")


def test_too_large(studio, monkeypatch):
    monkeypatch.setitem(server.MOST_BYTES, "portrait", 1 << 20)
    assert "1 MB" in studio.ask("api/portrait", b"x" * (2 << 20)).error
    assert studio.ask("api/direction", {"text": "#" * (2 << 20)}).status == 413
    assert not list(studio.session.folder.rglob("portrait"))  # nothing is left of it


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fps": 1000}, "--fps is 1000; allowed: 10 to 120"),
        ({"seed": "a"}, "--seed is 'a'; expected a whole number"),
        ({"crf": 1.5}, "--crf is 1.5; expected a whole number"),
        ({"fps": True}, "--fps is True; expected a number"),
        ({"renderer": "person"}, "--renderer is 'person'; choose warp or mesh"),
        ({"output": "/tmp/x"}, "no option 'output'"),
        ({"face": 7}, "only 1 found"),
    ],
)
def test_bad_options(studio, portrait, options, says):
    assert says in studio.ask("api/frame", take(portrait, **options)).error


def test_malformed_requests(studio, portrait):
    assert studio.ask("api/frame", b"{", content_type="application/json").status == 400
    assert "portrait" in studio.ask("api/frame", {}).error
    assert "at: " in studio.ask("api/frame", take(portrait, at=1e9)).error
    assert "style" in studio.ask("api/frame", take(portrait) | {"lanes": {"style": {"name": "rude"}}}).error
    assert studio.ask("api/render/none").status == 404
    assert "no voice" in studio.ask("api/render", take(portrait)).error


def test_direction_says_its_errors_in_one_line(studio):
    answer = studio.ask("api/direction", {"text": "emotion: happy\nlips: {gain: 7}"})
    assert answer.error == "direction:2: gain of lips is 7; allowed: 0 to 2"
    assert "did you mean 'happy'" in studio.ask("api/direction", {"text": "hapy"}).error


# What is seen


def test_loaded_things_are_described(studio, portrait, speech):
    assert portrait["name"] == "Grace at 256.png" and len(portrait["faces"]) == 1
    left, top, right, bottom = portrait["faces"][0]
    assert 0.2 < left < right < 0.8 and 0.1 < top < bottom < 0.7
    assert picture(studio.get(f"api/portrait/{portrait['key']}")).shape == (portrait["height"], portrait["width"], 3)
    assert speech["duration"] == pytest.approx(2) and max(speech["peaks"]) > 0.1
    heard = studio.post(f"api/speech/{speech['key']}/heard", {"text": "", "fps": 25}).json
    assert heard["source"] == "recognised" and heard["phones"][-1][2] == pytest.approx(2)
    part = studio.ask(f"api/speech/{speech['key']}", range="bytes=0-3")
    assert (part.status, part.body) == (206, b"RIFF")


def test_example_is_one_click_away(studio):
    assert studio.post("api/portrait/example").json["name"] == "grace_hopper.jpg"
    assert studio.post("api/speech/example").json["text"].startswith("Hello.")


def test_several_faces(studio, photo):
    one = np.asarray(Image.open(photo).convert("RGB"))
    small = np.asarray(Image.fromarray(one).resize((one.shape[1] // 2 * 2 - 40, one.shape[0] - 40)))
    both = np.zeros((one.shape[0], one.shape[1] + small.shape[1], 3), np.uint8)
    both[:, : one.shape[1]] = one
    both[: small.shape[0], one.shape[1] :] = small
    data = io.BytesIO()
    Image.fromarray(both).save(data, "PNG")
    found = studio.post("api/portrait?name=both.png", data.getvalue()).json
    assert [round(face[0]) for face in found["faces"]] == [0, 1]  # the larger one, on the left, first
    moved = [picture(studio.post("api/frame", take(found, at=2.0, face=face))) for face in (1, 2)]
    still = picture(studio.get(f"api/portrait/{found['key']}"))
    left, right = np.s_[:, : one.shape[1]], np.s_[:, one.shape[1] :]
    for image, changed, same in ((moved[0], left, right), (moved[1], right, left)):
        assert np.abs(image[changed] - still[changed]).mean() > 3 * np.abs(image[same] - still[same]).mean()


@pytest.mark.parametrize("renderer", ["warp", "mesh"])
def test_preview_is_what_the_pipeline_draws(studio, portrait, speech, photo, voice, renderer):
    text = "0s:sad:0.4, 1.2s:happy:0.9"
    there = track_image(read_image(photo))
    heard = analyse(read_audio(voice, 16_000), 25)
    motion = perform(Direction.read(text), heard, rest=there.rest, identity=there.identity, seed=3)
    if renderer == "warp":
        (expected,) = WarpRenderer(there).render(motion[30:31])
        loaded = direction_of(lanes(text))
        frame = studio.session.frame(server.Take(portrait["key"], speech["key"], loaded, {"seed": 3}), 1.21)
        assert np.array_equal(frame, expected)
        shown = studio.post("api/frame", take(portrait, speech, text, 1.21, seed=3))
        assert shown.headers["content-type"] == "image/jpeg" and psnr(picture(shown), expected) > 33
        other = studio.post("api/frame", take(portrait, speech, "anger", 1.21, seed=3))
        assert psnr(picture(other), expected) < psnr(picture(shown), expected) - 3
    else:
        assert picture(studio.post("api/frame", take(portrait, speech, text, 1.2, renderer="mesh"))).shape == (
            512,
            512,
            3,
        )


def test_still_says_where_it_comes_from(studio, portrait, tmp_path):
    answer = studio.post("api/still", take(portrait, text="surprise", at=3.0))
    (tmp_path / "still.png").write_bytes(answer.body)
    described = str(inspect(InspectOptions(tmp_path / "still.png")))
    assert "synthetic" in described and "Grace at 256.png" in described


@pytest.mark.parametrize(
    ("key", "flag"),
    [
        ({"emotion": "happy", "intensity": 0.8}, ["-e", "happy:0.8"]),
        ({"va": [-0.5, 0.3]}, ["--plane=-0.5,0.3"]),
        ({"emotion": "neutral", "intensity": 1}, ["-e", "neutral"]),
    ],
)
def test_stills_are_what_restyle_makes(studio, portrait, photo, tmp_path, key, flag):
    wish = {"portrait": portrait["key"], "emotion": {"at": 3.0, **key}}
    line = shlex.split(studio.post("api/restyle/command", wish).json["command"])
    assert line == ["mien", "restyle", "-i", "Grace at 256.png", *flag, "-o", "out.png"]
    assert main(["restyle", "-q", "-i", str(photo), *flag, "-o", str(tmp_path / "out.png")]) == 0
    expected = read_image(tmp_path / "out.png")
    emotion = server.RestyleBody(**wish).key()
    assert np.array_equal(studio.session.restyled(portrait["key"], emotion, None), expected)
    assert psnr(picture(studio.post("api/restyle", wish)), expected) > 33
    (tmp_path / "whole.png").write_bytes(studio.post("api/restyle", wish | {"full": True}).body)
    assert np.array_equal(read_image(tmp_path / "whole.png"), expected)
    assert "Grace at 256.png" in str(inspect(InspectOptions(tmp_path / "whole.png")))


def test_two_pages_at_once(studio, portrait, speech):
    """Every answer is the one to its own question."""
    wishes = [take(portrait, speech, text, at) for at in (0.5, 1.0, 1.5) for text in ("happy", "anger", "sad:0.7")]
    alone = [studio.post("api/frame", wish).body for wish in wishes]
    assert len(set(alone)) == len(wishes)
    studio.session._motions = type(studio.session._motions)(2)  # nothing is ready, and little is kept
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda wish: studio.post("api/frame", wish).body, wishes * 3))
    assert together == alone * 3


# What is made


def test_render_is_what_speak_makes(studio, portrait, speech, photo, voice, tmp_path):
    text = "0s:neutral, 0.8s:happy:0.9"
    job = studio.post("api/render", take(portrait, speech, text, seed=5, crf=20)).json
    report = studio.finished(job["job"])
    assert (report["state"], report["error"]) == ("done", "")
    video = studio.get(f"api/render/{job['job']}/video?download=true")
    assert video.headers["content-disposition"] == "attachment; filename*=utf-8''Grace%20at%20256--hello.mp4"
    made, expected = tmp_path / "made.mp4", tmp_path / "expected.mp4"
    made.write_bytes(video.body)
    speak(SpeakOptions(photo, voice, expected, direction=text, seed=5, crf=20))
    frames = [np.stack(list(VideoReader(path))) for path in (made, expected)]
    assert frames[0].shape[0] == 50 and np.array_equal(*frames)
    described = str(inspect(InspectOptions(made)))
    assert "synthetic" in described and "Grace at 256.png" in described and "hello.wav" in described
    part = studio.ask(f"api/render/{job['job']}/video", range="bytes=4-7")
    assert (part.status, part.body) == (206, b"ftyp")


def test_one_at_a_time_and_cancelled(studio, portrait):
    example = studio.post("api/speech/example").json
    first, second = (studio.post("api/render", take(portrait, example, fps=60)).json["job"] for _ in range(2))
    waiting = studio.get(f"api/render/{second}").json
    assert (waiting["state"], waiting["ahead"]) == ("waiting", 1)
    for _ in range(400):
        report = studio.get(f"api/render/{first}").json
        assert report["state"] in ("waiting", "running")
        if report.get("stage") == "render" and report["done"]:
            break
        time.sleep(0.02)
    assert report["total"] == round(example["duration"] * 60)
    for key in (first, second):
        studio.ask(f"api/render/{key}", method="DELETE")
    assert [studio.finished(key)["state"] for key in (first, second)] == ["cancelled", "cancelled"]
    assert studio.ask(f"api/render/{first}/video").status == 404
    left = [path for path in (studio.session.folder / "renders").rglob("*") if path.suffix == ".mp4"]
    assert all(path.name == "Grace at 256--hello.mp4" for path in left)


def test_a_render_that_fails_says_why(studio, portrait, speech):
    wish = take(portrait, speech) | {"options": {"text": "Now is the winter of our discontent made glorious summer"}}
    report = studio.finished(studio.post("api/render", wish).json["job"])
    assert report["state"] == "failed" and "does not follow the text" in report["error"] and "\n" not in report["error"]
