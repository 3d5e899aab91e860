"""Shell completion: `eval "$(diffect train --shell-completion install=bash)"`; the choices are Hydra's."""

import os
from collections.abc import Sequence

SCRIPT = """\
_diffect() {{
    local choices
    if [ "$COMP_CWORD" -le 1 ]; then
        choices="{commands}"
    else
        choices=$(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" \\
            "${{COMP_WORDS[0]}}" "${{COMP_WORDS[1]}}" --shell-completion query=bash 2> /dev/null)
    fi
    COMPREPLY=($(compgen -o default -W "$choices" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
COMP_WORDBREAKS=${{COMP_WORDBREAKS//=}}
complete -o nospace -o default -F _diffect diffect"""


def answers(overrides: Sequence[str], commands: Sequence[str]) -> str | None:
    """The script to install; None for a query, which Hydra answers."""
    if "install=bash" in overrides:
        return SCRIPT.format(commands=" ".join(commands))
    if "query=bash" not in overrides:
        raise ValueError("--shell-completion is for bash: --shell-completion install=bash")
    # Hydra takes the first word for the program, and the command is one more.
    words = os.environ.get("COMP_LINE", "").split(" ")
    os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
    return None
