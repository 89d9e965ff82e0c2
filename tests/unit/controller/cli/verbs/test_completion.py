"""Completion scripts: shells take them, and complete what there is."""

import shutil
import subprocess

import pytest

from controller.cli.verbs.catalogue import VERBS
from controller.cli.verbs.completion import script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_the_shell_takes(shell: str, tmp_path: object) -> None:
    text = script(shell, VERBS)
    assert all(word in text for name in VERBS for word in name.split())
    if shutil.which(shell):
        check = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True, check=False)
        assert (check.returncode, check.stderr) == (0, "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lading ap", {"apply"}),
        ("lading -n shop plan --ou", {"--out", "--output"}),
        ("lading completion z", {"zsh"}),
        ("lading get vol", {"volume"}),
        ("lading ima", {"image"}),
        ("lading image pu", {"pull"}),
        ("lading -n shop image save --for", {"--format"}),
        ("lading network dis", {"disconnect"}),
    ],
)
def test_bash_completes(line: str, expected: set[str]) -> None:
    words = line.split()
    ask = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _lading; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    answer = subprocess.run(
        ["bash", "-c", f"{script('bash', VERBS)}\n{ask}"], capture_output=True, text=True, check=True
    )
    assert set(answer.stdout.split()) == expected
