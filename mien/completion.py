"""What bash and zsh complete after ``mien``: verbs, flags, and the values that a flag takes by name; else files.

The script is made from the verbs' own options, so it is never behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

POSITIONAL = get_args(tyro.conf.Positional[int])[1]
"""tyro's mark on options without a flag, which has no public name."""

_SCRIPT = """\
# Completion of mien for bash and zsh, written by: mien --completion
if [ -n "$ZSH_VERSION" ]; then autoload -U +X bashcompinit && bashcompinit; fi
_mien() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" verb="${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" words=""
  case "$COMP_CWORD $word" in
    "1 "*) words="{verbs} help --help --version --completion" ;;
    *" -"*) case "$verb" in
{flags}
      esac ;;
    "2 "*) case "$verb" in
{seconds}
      esac ;;
    *) case "$verb ${{COMP_WORDS[COMP_CWORD-1]}}" in
{values}
      esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _mien mien"""


def script(verbs: Mapping[str, Any], common: Any) -> str:
    """The text to keep where the shell looks for completions, or to ``eval`` in its start file.

    Args:
        verbs: verb, of one word or two → the dataclass of its options.
        common: the dataclass of what every verb understands.
    """
    seconds: dict[str, list[str]] = {}
    flags, values = [], []
    for verb, options in sorted(verbs.items(), key=lambda item: -item[0].count(" ")):  # those of two words first
        first, _, second = verb.partition(" ")
        if second:
            seconds.setdefault(first, []).append(second)
        taken = dict(_flags(options))
        words = " ".join([*taken, *dict(_flags(common)), "--help"])
        flags.append(f'        "{verb} "* | "{verb}") words="{words}" ;;')
        values += [
            f'        "{verb} "*"{flag}") words="{" ".join(names)}" ;;' for flag, names in taken.items() if names
        ]
    return _SCRIPT.format(
        verbs=" ".join(dict.fromkeys(verb.split()[0] for verb in verbs)),
        flags="\n".join(flags),
        seconds="\n".join(f'        "{first} "*) words="{" ".join(names)}" ;;' for first, names in seconds.items()),
        values="\n".join(values),
    )


def _flags(options: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every flag with the values that it takes by name, if it does."""
    hints = get_type_hints(options, include_extras=True)
    for field in fields(options):
        hint = hints[field.name]
        kind, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        if POSITIONAL not in marks:
            name = next((mark.name for mark in marks if getattr(mark, "name", None)), field.name)
            yield f"--{name.replace('_', '-')}", _names(kind)


def _names(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind)))
    return tuple(name for part in get_args(kind) for name in _names(part))
