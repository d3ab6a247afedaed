"""What ``mien train`` can be told and what it answers, for every method.

It stands apart from what trains, so that ``--help`` is quick and recipes need not import each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg


@dataclass(frozen=True)
class TrainVocaOptions:
    """Train VOCA: speech to the movement of a face.

    Data is a folder with VOCASET, or what `mien prepare voca` made of your own clips. If the output folder holds a run
    with the same settings, it goes on where it stopped.
    """

    data: Annotated[Path, arg(aliases=("-i",))]
    """Folder with the recordings."""

    output: Annotated[Path, arg(aliases=("-o",))]
    """Folder of the run: checkpoints, curves, and voca.safetensors at the end."""

    features: Literal["phones42", "deepspeech29", "wav2vec29"] = "phones42"
    """What the network hears: 42 phone shares made by mien, DeepSpeech logits (those that come with VOCASET, unless
    --recogniser is given), or the letters of a wav2vec 2.0 recogniser."""

    recogniser: Path | None = None
    """The recogniser for the features: the frozen graph of DeepSpeech 0.1, or a folder with a wav2vec 2.0 CTC model."""

    leave_out: tuple[str, ...] = ()
    """Speakers to validate on instead of training on them."""

    epochs: int = 100
    """How many times each frame is seen."""

    batch_size: int = 64
    """Frames per step, each with the ones before it."""

    learning_rate: float = 1e-4
    """Of the first epoch."""

    decay: float = 1.0
    """Factor on the learning rate after every epoch."""

    consecutive_frames: int = 2
    """Neighbouring frames per example: 2 for the velocity loss, 3 for the acceleration loss."""

    absolute_loss: bool = False
    """Measure the L1 distance instead of the squared one."""

    velocity_weight: float = 10.0
    """Weight of the velocity loss."""

    lip_weight: float = 1.0
    """How many times as much a vertex of the lips counts as another one; 1 is the paper's loss."""

    acceleration_weight: float = 0.0
    """Weight of the acceleration loss."""

    regulariser_weight: float = 0.0
    """Weight of the size of the offsets."""

    checkpoint_every: int = 10
    """Epochs between checkpoints; the last 10 are kept."""

    seed: int = 0
    """Of the start and the order; the same seed gives the same weights."""


@dataclass(frozen=True)
class TrainVocaResult:
    """What came out.

    Attributes:
        output: the weights.
        epochs: how many.
        n_frames: frames trained on.
        train: root of the mean squared vertex error in the last epoch, mm (mean absolute, for the L1 loss).
        validation: the same on frames not trained on.
    """

    output: Path
    epochs: int
    n_frames: int
    train: float
    validation: float


@dataclass(frozen=True)
class TrainDsmOptions:
    """Train DSM's expression decoder of one person: valence and arousal to expression.

    Data is a folder that `mien prepare` made of the person's videos. If the output folder holds a run with the same
    settings, it goes on where it stopped.
    """

    data: Annotated[Path, arg(aliases=("-i",))]
    """Folder of the person."""

    output: Annotated[Path | None, arg(aliases=("-o",))] = None
    """Folder of the run. Default: dsm in the person's folder, where mien redirect looks for it."""

    setting: Literal["fast", "faithful"] = "fast"
    """fast takes a minute at most; faithful is the paper's network and takes hours without a GPU."""

    epochs: int | None = None
    """How many times each frame is seen. Default: 200 for fast, 1000 for faithful."""

    dropout: float = 0.0
    """Share of values that each hidden layer loses in training."""

    held_out: float = 0.2
    """Share of every clip, its end, that is validated on instead of trained on."""

    seed: int = 0
    """Of the start and the order; the same seed gives the same weights."""


@dataclass(frozen=True)
class TrainDsmResult:
    """What came out. Errors are root mean squares of expression weights on frames not trained on.

    Attributes:
        output: the weights.
        epochs: how many.
        n_frames: frames trained on.
        n_held_out: frames validated on.
        decoder: error of the decoder.
        mean: error of the person's mean face.
        generic: error of the face that anybody gets at this valence and arousal, over the person's resting face.
    """

    output: Path
    epochs: int
    n_frames: int
    n_held_out: int
    decoder: float
    mean: float
    generic: float


@dataclass(frozen=True)
class TrainEmoNetOptions:
    """Train EmoNet on labelled pictures of faces: valence, arousal and the label.

    Pictures are cropped around their largest face as EmoNet's evaluation does. If the output folder holds a run with
    the same settings, it goes on where it stopped.
    """

    data: Annotated[Path, arg(aliases=("-i",))]
    """A folder with a folder of pictures per label, or a .csv with columns path, label, valence, arousal."""

    output: Annotated[Path, arg(aliases=("-o",))]
    """Folder of the run: faces, checkpoints, curves, and emonet.safetensors at the end."""

    start: Path | None = None
    """EmoNet's weights whose trunk is kept and whose head is trained on. Default: all is trained, from nothing."""

    clean: bool = False
    """Leave out pictures whose label and valence-arousal contradict each other, by AffectNet's cleaning rules."""

    held_out: float = 0.1
    """Share of every label's pictures that is validated on instead of trained on."""

    epochs: int = 50
    """How many times the commonest label's pictures are seen; the others are repeated to be seen as often."""

    batch_size: int = 64
    """Pictures per step."""

    learning_rate: float = 1e-3
    """Of the first epoch."""

    decay: float = 0.858
    """Factor on the learning rate after every epoch; the default is a tenth in 15 epochs."""

    checkpoint_every: int = 1
    """Epochs between checkpoints; the last 3 are kept."""

    seed: int = 0
    """Of the start and the order; the same seed gives the same weights."""


@dataclass(frozen=True)
class TrainEmoNetResult:
    """What came out. Figures are of pictures not trained on, NaN where there are none.

    Attributes:
        output: the weights; mien track --estimator emonet:FILE takes them.
        epochs: how many.
        n_pictures: pictures trained on.
        n_held_out: pictures validated on.
        accuracy: share of right labels.
        valence_ccc: concordance correlation of valence.
        arousal_ccc: of arousal.
    """

    output: Path
    epochs: int
    n_pictures: int
    n_held_out: int
    accuracy: float
    valence_ccc: float
    arousal_ccc: float


@dataclass(frozen=True)
class TrainNedOptions:
    """Train NED: translate the emotion of a motion.

    Data is a folder of clips PERSON/EMOTION/CLIP (videos or motions), MEAD, Aff-Wild2, or what `mien prepare` made of
    a person. Videos are tracked first. If the output folder holds a run with the same settings, it goes on where it
    stopped.
    """

    data: Annotated[Path, arg(aliases=("-i",))]
    """Folder with the clips."""

    output: Annotated[Path, arg(aliases=("-o",))]
    """Folder of the run: checkpoints, curves, and ned.safetensors at the end."""

    start: Path | None = None
    """Weights to go on from, as from Aff-Wild2 to MEAD."""

    method: Literal["paper", "reversible"] = "paper"
    """paper trains the published networks; reversible trains what comes with mien: how a label changes anybody's style,
    in a minute, for a translation that can be undone."""

    leave_out: tuple[str, ...] = ()
    """People to validate on instead of training on them. Default: every tenth."""

    width: int = 64
    """Of the translator's layers (paper); 512 as published."""

    reader_width: int = 128
    """Of the layers of style encoder and discriminator (paper); 512 as published."""

    hop: int = 1
    """Frames from one window to the next (paper)."""

    epochs: int = 20
    """How many times each window, or stretch of an emotion, is seen."""

    batch_size: int = 64
    """Windows or stretches per step."""

    learning_rate: float = 1e-4
    """Of the first epoch."""

    decay: float = 1.0
    """Factor on the learning rate after every epoch."""

    checkpoint_every: int = 5
    """Epochs between checkpoints; the last 10 are kept."""

    seed: int = 0
    """Of the start and the order; the same seed gives the same weights."""


@dataclass(frozen=True)
class TrainNedResult:
    """What came out.

    Attributes:
        output: the weights.
        epochs: how many.
        n_windows: windows, or stretches of an emotion, trained on.
        people: how many people they are of.
        cycle: mean error after translating there and back, of people not trained on.
        moved: share of the way to a reference that the mean of such a person's window moves; reversible: of the way to
            how that person feels what the label says.
    """

    output: Path
    epochs: int
    n_windows: int
    people: int
    cycle: float
    moved: float


@dataclass(frozen=True)
class TrainRendererOptions:
    """Train a renderer of one person: motion to pictures of them.

    Data is a folder that `mien prepare` made of the person's videos. If the output folder holds a run with the same
    settings, it goes on where it stopped. While it runs, preview.png shows how far it is; at the end report.json and
    report.png say how well it draws frames that it has not seen.
    """

    data: Annotated[Path, arg(aliases=("-i",))]
    """Folder of the person."""

    output: Annotated[Path | None, arg(aliases=("-o",))] = None
    """Folder of the run. Default: renderer in the person's folder, where mien redirect looks for it."""

    method: Literal["fast", "head2head", "ned"] = "fast"
    """fast mends warped frames of the person and learns in minutes; head2head draws from geometry alone, on a GPU; ned
    is its variant that draws the face only, for films."""

    minutes: float = 60
    """Stop after so long; an earlier stop comes when validation no longer gets better."""

    epochs: int | None = None
    """Stop after so many epochs. Default: as many as the minutes allow; the published 60 for head2head, ned."""

    learning_rate: float | None = None
    """Of the first epoch. Default: the method's own."""

    width: int = 64
    """Channels of head2head or ned at full size; 64 as published, 8 to try it out."""

    perceptual: Path | None = None
    """VGG-19's ImageNet weights for the perceptual loss of head2head and ned, which is left out without them."""

    seed: int = 0
    """Of the start and the order; the same seed and the same number of epochs give the same weights."""


@dataclass(frozen=True)
class TrainRendererResult:
    """What came out.

    Attributes:
        output: the trained person.
        epochs: how many.
        minutes: how long it took in all.
        n_frames: frames trained on.
        face_psnr: dB on frames never seen, in the face.
        mouth_psnr: the same around the mouth.
    """

    output: Path
    epochs: int
    minutes: float
    n_frames: int
    face_psnr: float
    mouth_psnr: float


@dataclass(frozen=True)
class TrainGanmutOptions:
    """Train GANmut: a plane of emotions, and a network that gives a face any point of it.

    Pictures are cropped around their largest face. If the output folder holds a run with the same settings, it goes on
    where it stopped. Tens of thousands of faces and a GPU are needed for good pictures.
    """

    data: Annotated[Path, arg(aliases=("-i",))]
    """A folder with a folder of pictures per label (neutral, happy, sad, surprise, fear, disgust, anger), or a .csv
    with columns path and label."""

    output: Annotated[Path, arg(aliases=("-o",))]
    """Folder of the run: faces, checkpoints, curves, a preview, and ganmut.safetensors at the end."""

    space: Literal["linear", "gaussian"] = "linear"
    """A direction per emotion, or a Gaussian per emotion; both in the plane."""

    held_out: float = 0.1
    """Share of every label's pictures that is looked at instead of trained on, the last ones by name."""

    epochs: int = 100
    """How many times each face is seen."""

    batch_size: int = 16
    """Faces per step of the discriminator; the generator takes one step for five of them."""

    learning_rate: float = 1e-4
    """Of both networks."""

    strength_weight: float = 4.0
    """Weight of the strength of the emotion (linear space): 4 in the authors' scripts, 1 in their program."""

    checkpoint_every: int = 5
    """Epochs between checkpoints; the last 2 are kept."""

    seed: int = 0
    """Of the start and the order; the same seed gives the same weights."""


@dataclass(frozen=True)
class TrainGanmutResult:
    """What came out.

    Attributes:
        output: the weights; mien restyle --renderer ganmut takes them.
        epochs: how many.
        n_faces: faces trained on.
        n_held_out: faces only looked at.
        asked_label_seen: share of edits of the latter in which the discriminator names the label asked for.
    """

    output: Path
    epochs: int
    n_faces: int
    n_held_out: int
    asked_label_seen: float


@dataclass(frozen=True)
class TrainIcfaceOptions:
    """Train ICface: a network that moves a face by action units and head rotation.

    Clips are tracked once; their action units come from mien's tracker. If the output folder holds a run with the same
    settings, it goes on where it stopped. Hundreds of people and a GPU are needed for good pictures.
    """

    data: Annotated[Path, arg(aliases=("-i",))]
    """Folder of clips, each of one person, or with a folder of clips per person."""

    output: Annotated[Path, arg(aliases=("-o",))]
    """Folder of the run: faces, checkpoints, curves, a preview, and icface.safetensors at the end."""

    leave_out: tuple[str, ...] = ()
    """People to look at instead of training on them."""

    faces_per_second: float = 5.0
    """How many frames of a clip are used."""

    epochs: int = 100
    """How many times each frame drives."""

    batch_size: int = 8
    """Pairs of frames per step."""

    learning_rate: float = 2e-4
    """Of all networks."""

    checkpoint_every: int = 5
    """Epochs between checkpoints; the last 2 are kept."""

    seed: int = 0
    """Of the start and the order; the same seed gives the same weights."""


@dataclass(frozen=True)
class TrainIcfaceResult:
    """What came out.

    Attributes:
        output: the weights; mien reenact --renderer icface takes them.
        epochs: how many.
        n_faces: frames trained on.
        n_people: of so many people.
        error: mean difference from the driving frame on people left out, grey levels of 255.
        error_if_still: the same for a face that is not moved at all.
    """

    output: Path
    epochs: int
    n_faces: int
    n_people: int
    error: float
    error_if_still: float
