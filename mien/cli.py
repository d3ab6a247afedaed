"""The command line: ``mien VERB``, one verb per job.

A verb is a public function of a pipeline, ``function(options, progress) -> result``; its flags are the fields of its
options dataclass. Only the wanted verb is imported.

Exit codes: 0 done; 2 the input or the command cannot be used (one line on stderr says why and what to do);
130 interrupted by Ctrl-C, 143 by a polite kill (SIGTERM); 1 a fault in mien itself.
"""

from __future__ import annotations

import difflib
import io
import json
import logging
import os
import re
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import MISSING, dataclass, fields, make_dataclass
from importlib import import_module
from importlib.metadata import version
from inspect import cleandoc
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser
import tyro

from mien.completion import POSITIONAL, script
from mien.errors import InputError, MienError
from mien.progress import Progress, Silent
from mien.terminal import LoggedProgress, Notes, TerminalProgress

VERBS: dict[str, tuple[str, str, str, str]] = {
    "speak": ("mien.pipelines.speak", "SpeakOptions", "speak", "portrait + speech + direction → talking video"),
    "redirect": ("mien.pipelines.redirect", "RedirectOptions", "redirect", "video → the same speech, another emotion"),
    "reenact": ("mien.pipelines.reenact", "ReenactOptions", "reenact", "a clip, a motion or controls move a portrait"),
    "restyle": ("mien.pipelines.restyle", "RestyleOptions", "restyle", "picture + emotion → edited picture"),
    "animate": ("mien.pipelines.animate", "AnimateOptions", "animate", "speech → 3D face: video, glTF, meshes"),
    "render": ("mien.pipelines.render", "RenderOptions", "render", "motion + a person's renderer → video of them"),
    "studio": ("mien.studio.launch", "StudioOptions", "studio", "all of it on a page in the browser, seen at once"),
    "track": ("mien.pipelines.track", "TrackOptions", "track", "picture or video → face motion, emotion, action units"),
    "style": ("mien.pipelines.style", "StyleOptions", "style", "clip → how somebody talks and feels, as numbers"),
    "export": ("mien.pipelines.export", "ExportOptions", "export", "motion → glTF, meshes, Live Link CSV, FLAME"),
    "plot va": ("mien.pipelines.plot", "PlotOptions", "plot", "tables of emotion → pictures over the emotion disc"),
    "plot regions": ("mien.pipelines.plot_regions", "PlotRegionsOptions", "plot_regions", "labels → path over a disc"),
    "inspect": ("mien.pipelines.inspect", "InspectOptions", "inspect", "what a file is and where it came from"),
    "assets": ("mien.pipelines.assets", "AssetsOptions", "assets", "official files that do not come with mien"),
    "person": ("mien.person", "PersonOptions", "person", "videos of a person → somebody that redirect knows"),
    "prepare": ("mien.pipelines.prepare", "PrepareOptions", "prepare", "videos of a person → what methods learn from"),
    "prepare voca": ("mien.training.prepare", "PrepareOptions", "prepare", "clips of speakers → data for train voca"),
    "train dsm": ("mien.training.train", "TrainDsmOptions", "train_dsm", "person's folder → emotion-to-face network"),
    "train renderer": (
        "mien.training.train",
        "TrainRendererOptions",
        "train_renderer",
        "person's folder → what draws them",
    ),
    "train voca": ("mien.training.train", "TrainVocaOptions", "train_voca", "training data → speech-to-face network"),
    "train ned": ("mien.training.train", "TrainNedOptions", "train_ned", "clips in emotions → emotion translator"),
    "train emonet": ("mien.training.train", "TrainEmoNetOptions", "train_emonet", "labelled pictures → EmoNet"),
    "train ganmut": ("mien.training.train", "TrainGanmutOptions", "train_ganmut", "labelled faces → emotion editor"),
    "train icface": ("mien.training.train", "TrainIcfaceOptions", "train_icface", "clips of people → face animator"),
    "evaluate": ("mien.evaluation.evaluate", "EvaluateOptions", "evaluate", "videos or motions → a report of measures"),
    "evaluate control": (
        "mien.evaluation.control",
        "ControlOptions",
        "evaluate_control",
        "what each control moves, and what it should not",
    ),
    "bench": ("mien.pipelines.bench", "BenchOptions", "bench", "speed, memory and start-up on this machine"),
}
"""Verb, of one word or two → module, options, function, one line of help."""

EXAMPLES: dict[str, str] = {
    "speak": '-p photo.jpg -s voice.wav -d "0s:neutral, 1.2s:happy:0.9" -o out.mp4',
    "redirect": '-i film.mp4 -e "2s-5s:happy:0.8" -o out.mp4',
    "reenact": "-p photo.jpg -d film.mp4 -o out.mp4",
    "restyle": "-i photo.jpg -e happy:0.7 -o out.png",
    "animate": "-s voice.wav -d happy:0.8 -o out.glb",
    "render": "-i motion.npz --person ann -o out.mp4",
    "studio": "-p photo.jpg -s voice.wav",
    "track": "-i film.mp4 -o motion.npz --also film.emotion.csv film.openface.csv",
    "style": "-i film.mp4 -o ann.json",
    "export": "-i motion.npz -o motion.glb --fps 60",
    "plot va": "-i film.emotion.csv -o emotion.png",
    "plot regions": "-e happy -o path.png",
    "inspect": "out.mp4",
    "assets": "list",
    "person": "film1.mp4 film2.mp4 -o ann",
    "prepare": "film1.mp4 film2.mp4 -o ann",
    "prepare voca": "clips/*.mp4 -o data",
    "train dsm": "-i ann -o ann/dsm",
    "train renderer": "-i ann",
    "train voca": "-i data -o run",
    "train ned": "-i clips -o run",
    "train emonet": "-i pictures -o run",
    "train ganmut": "-i pictures -o run",
    "train icface": "-i clips -o run",
    "evaluate": "out.mp4 --truth film.mp4 -o report.html",
    "evaluate control": "-o control.html",
    "bench": "speak",
}
"""Verb → options of a command that shows what it is for."""

_HEADINGS = {
    "speak": "make pictures and videos",
    "track": "read faces, look at files",
    "person": "learn a person, train networks",
    "evaluate": "measure",
}
"""The verb that a group begins with → what the group is for, in ``mien --help``."""

EXIT_FAULT, EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_PIPE_CLOSED, EXIT_TERMINATED = 1, 2, 130, 141, 143


@dataclass(frozen=True)
class RunFlags:
    """What every verb understands."""

    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print the result, or the error, as one JSON object."""

    quiet: Annotated[bool, tyro.conf.arg(aliases=("-q",), help_behavior_hint="")] = False
    """Show no progress, no notes and no summary."""

    verbose: Annotated[bool, tyro.conf.arg(aliases=("-v",), help_behavior_hint="")] = False
    """Show more notes, and the traceback of a fault."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    _mend_streams()
    try:
        with stoppable():
            try:
                code = _dispatch(list(sys.argv[1:] if arguments is None else arguments))
            except KeyboardInterrupt as stop:
                print("; ".join(("mien: interrupted", "no output was written", *_notes_on(stop))), file=sys.stderr)
                code = EXIT_TERMINATED if isinstance(stop, _Terminated) else EXIT_INTERRUPTED
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED


def _mend_streams() -> None:
    """Put the null device where stdin, stdout or stderr is closed, and let stdout print any name.

    Else the first file that is opened gets the number of the closed one, and with it whatever a library prints.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _notes_on(error: BaseException) -> list[str]:
    """What :meth:`BaseException.add_note` has added on the way up, such as that the run can be gone on with."""
    return getattr(error, "__notes__", [])


class _Terminated(KeyboardInterrupt):
    """SIGTERM; what cleans up after Ctrl-C cleans up after it as well."""


@contextmanager
def stoppable() -> Iterator[None]:
    """A polite kill stops a run as Ctrl-C does, and neither is lost where Python may not raise.

    What was half made when the stop came, and then cannot end itself properly, does so in silence.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopped = False

    def stop(number: int, _: object) -> None:
        nonlocal stopped
        stopped = True
        raise _Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def lost(what: sys.UnraisableHookArgs) -> None:
        if isinstance(what.exc_value, KeyboardInterrupt):
            number = signal.SIGTERM if isinstance(what.exc_value, _Terminated) else signal.SIGINT
            threading.Timer(0.05, interrupt_main, [number]).start()  # not now: the hook itself could not raise either
        elif not stopped:
            hook(what)

    hears_ctrl_c = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # runs in the background do not
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, *[signal.SIGINT] * hears_ctrl_c)}
    hook, sys.unraisablehook = sys.unraisablehook, lost
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview(), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else EXIT_BAD_INPUT
    if arguments[0] == "--version":
        print(f"mien {version('mien')}")
        return 0
    if arguments[0] == "--completion":
        print(script({verb: _options_of(verb) for verb in VERBS}, RunFlags))
        return 0
    verb, *rest = arguments
    if rest and f"{verb} {rest[0]}" in VERBS:
        verb, *rest = f"{verb} {rest[0]}", *rest[1:]
    try:
        options, flags = parse(verb, rest)
    except SystemExit:  # tyro has printed the help
        return 0
    except MienError as error:
        return _failed(verb, error, as_json="--json" in rest)
    return _run(verb, options, flags)


def overview() -> str:
    """The text of ``mien --help``."""
    width = max(map(len, VERBS))
    verbs = "".join(
        (f"\n{_HEADINGS[name]}:\n" if name in _HEADINGS else "") + f"  {name:<{width}}  {line}\n"
        for name, (_, _, _, line) in VERBS.items()
    )
    return (
        "usage: mien VERB [options]\n\n"
        "Give mien a voice, a face and a direction; it returns that person saying it and feeling it.\n\n"
        f"{verbs.lstrip()}\n"
        "  mien VERB --help   its options\n"
        "  mien --version     the version\n"
        "  mien --completion  what bash and zsh need to complete all this; see docs/cli.md"
    )


def parse(verb: str, arguments: Sequence[str]) -> tuple[Any, RunFlags]:
    """The options of a verb and the flags common to all verbs.

    Raises:
        InputError: if there is no such verb or an argument is wrong.
        SystemExit: if help was asked for, which is then printed.
    """
    if verb not in VERBS:
        family = [name for name in VERBS if name.startswith(f"{verb} ")]
        if family:
            raise InputError(f"{verb} what?", f"there are {', '.join(family)}")
        is_flag = verb.startswith("-")
        close = difflib.get_close_matches(verb, ("--help", "--version", "--completion") if is_flag else VERBS, n=1)
        remedy = f"did you mean {close[0]}?" if close else "mien --help lists the verbs"
        raise InputError(f"no {'option' if is_flag else 'verb'} {verb!r}", remedy)
    for flag, value in pairwise(arguments):
        if flag.startswith("-") and not value.strip():
            raise InputError(f"{flag} is given nothing", "is a variable of your shell empty?")
    options_type = _options_of(verb)
    _explain_plainly(options_type)
    flat = tyro.conf.arg(name="")
    command = make_dataclass(
        "Command", [("options", Annotated[options_type, flat]), ("run", Annotated[RunFlags, flat])]
    )
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            parsed: Any = tyro.cli(
                command,
                args=list(arguments),
                prog=f"mien {verb}",
                description=_description(verb, options_type),
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as done:
        if done.code in (None, 0):
            raise
        raise InputError(_in_one_line(complaint.getvalue()), f"see mien {verb} --help") from None
    return parsed.options, parsed.run


def _options_of(verb: str) -> Any:
    module, options_name, _, _ = VERBS[verb]
    return getattr(import_module(module), options_name)


_NO_TYPE = r"no type matching \S*{} could be instantiated from \["
_PLAINLY = (
    (rf"(?:could not convert string to float: |{_NO_TYPE.format('FLOAT')})('.+')\]?", r"is \1; expected a number"),
    (rf"(?:invalid literal .+ base 10: |{_NO_TYPE.format('INT')})('.+')\]?", r"is \1; expected a whole number"),
    (rf"{_NO_TYPE.format('')}('.+')\]", r"is \1, which it does not take"),
    (r"Error parsing (\S+):", r"\1"),
    (r"invalid choice (.+) for argument '(?:options\.)?(\S+)'\. Expected one of \((.+)\)", r"\2 is \1; expected \3"),
    (r"Missing value for argument '(?:-\w/)?(\S+)'\. Expected .+", r"\1 is given nothing"),
)
"""What tyro says in Python's words → the same in the user's."""

_METAVARS = {Path: "PATH", str: "TEXT", int: "N", float: "NUMBER"}


def _explain_plainly(options_type: Any) -> None:
    """Have tyro's help name kinds of values as people do, and no default where it is ``None``, ``False`` or empty."""
    hints = get_type_hints(options_type, include_extras=True)
    texts = {doc.arg_name: doc.description or "" for doc in docstring_parser.parse_from_object(options_type).params}
    for field in fields(options_type):
        hint = hints[field.name]
        bare, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        metavar = _metavar(bare)
        if POSITIONAL in marks and get_origin(bare) is not Literal:
            metavar = field.name.upper() + (" ..." if get_origin(bare) is tuple else "")
            metavar = metavar if field.default is MISSING else f"[{metavar}]"
        unsaid = field.default in (None, (), "", MISSING) or field.default is False
        help_text = " ".join(texts.get(field.name, "").split())  # tyro would keep the lines of the source
        hints[field.name] = Annotated[
            hint, tyro.conf.arg(metavar=metavar, help=help_text, help_behavior_hint="" if unsaid else None)
        ]
    options_type.__annotations__ = hints


def _metavar(kind: Any) -> str | None:
    """What stands for a value of this kind; ``None`` leaves it to tyro."""
    several = [each for each in get_args(kind) if each is not type(None) and each is not ...]
    if get_origin(kind) is Literal:
        return "{" + ",".join(map(str, several)) + "}"
    if get_origin(kind) is tuple and ... in get_args(kind):
        return f"{_metavar(several[0])} ..."
    if get_origin(kind) is tuple:
        return " ".join(str(_metavar(each)) for each in several)
    return "|".join(str(_metavar(each)) for each in several) if several else _METAVARS.get(kind)


def _description(verb: str, options_type: Any) -> str:
    """What a verb does, and a command that does it."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in cleandoc(options_type.__doc__).split("\n\n")]
    example = [f"Example: mien {verb} {EXAMPLES[verb]}"] if verb in EXAMPLES else []
    return "\n\n".join([*paragraphs, *example])


def _in_one_line(box: str) -> str:
    """What tyro draws as a box of sections: what is wrong and with which flags, without their descriptions."""
    _title, *sections = re.split(r"[^\n]*[─-]{3}[^\n]*", box)
    says = []
    for section in sections:
        rows = dedent("\n".join(row.strip("│").rstrip() for row in section.strip("\n").splitlines())).splitlines()
        rows = rows[: rows.index("")] if "" in rows else rows
        if rows and not rows[0].startswith(("Argument helptext", "For full helptext")):
            sentence = " ".join(row for row in rows if not row.startswith(" "))
            flags = ", ".join(row.strip() for row in rows if re.match(r" {4}\S", row))  # descriptions stand further in
            says.append(f"{sentence} {flags}".strip())
    text = "; ".join(says) or " ".join(box.split())
    text = re.sub(r"-\w( \S+)?, (?=--)", "", text).rstrip(" .")  # of "-p PATH, --portrait PATH" the long form
    for said, plainly in _PLAINLY:
        text = re.sub(said, plainly, text)
    return text


def _run(verb: str, options: Any, flags: RunFlags) -> int:
    module, _, function_name, _ = VERBS[verb]
    try:
        with _notes(flags), _progress(flags) as progress:
            result = getattr(import_module(module), function_name)(options, progress)
        _print_result(verb, result, flags)
        return 0
    except MienError as error:
        return _failed(verb, error, as_json=flags.json)
    except BrokenPipeError:
        raise
    except Exception as error:
        if flags.verbose:
            raise
        what = f"a fault in mien ({type(error).__name__}: {error})"
        fault = MienError(what, "; ".join(("run again with -v to see where", *_notes_on(error))))
        _failed(verb, fault, as_json=flags.json)
        return EXIT_FAULT


def _failed(verb: str, error: MienError, *, as_json: bool) -> int:
    if as_json:
        answer = {"error": type(error).__name__, "what": error.what, "remedy": error.remedy}
        _print_json({"ok": False, "verb": verb, **answer})
    print("mien: error: " + " ".join("; ".join((str(error), *_notes_on(error))).splitlines()), file=sys.stderr)
    return EXIT_BAD_INPUT


def _print_result(verb: str, result: Any, flags: RunFlags) -> None:
    if flags.json:
        _print_json({"ok": True, "verb": verb, **_fields(result)})
    elif "__str__" in vars(type(result)):
        print(result)
    elif not flags.quiet:
        figures = [
            f"{name.removeprefix('n_').replace('_', ' ')} {_figure(value)}"
            for name, value in _fields(result).items()
            if name != "output" and value is not None
        ]
        print(f"{result.output}: {', '.join(figures)}")


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(len(value) if isinstance(value, list | tuple) else value)


def _fields(result: Any) -> dict[str, Any]:
    return {name: getattr(result, name) for name in result.__dataclass_fields__}


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__dataclass_fields__"):
        return _fields(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


@contextmanager
def _notes(flags: RunFlags) -> Iterator[None]:
    logger, handler, level = logging.getLogger("mien"), Notes(), logging.getLogger("mien").level
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR if flags.quiet else logging.INFO if flags.verbose else logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def _progress(flags: RunFlags) -> Iterator[Progress]:
    if flags.quiet:
        yield Silent()
    elif not sys.stderr.isatty():
        yield LoggedProgress()
    else:
        with TerminalProgress() as progress:
            yield progress
