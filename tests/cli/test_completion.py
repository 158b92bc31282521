"""Completion in a shell: the script is accepted, completes commands and options, and runs no module that lies about."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import Call
from supernet import cli

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


@needs_bash
def test_bash_completes_commands_and_options(call: Call, tmp_path: Path) -> None:
    status, script, err = call("completion", "bash")
    assert (status, err) == (0, "")
    (tmp_path / "supernet").write_text(script)
    subprocess.run(["bash", "-n", "supernet"], check=True)
    for name in ("typing", "re", "sys", "ast"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')")

    def completed(*words: str) -> list[str]:
        typed = " ".join(f"'{word}'" for word in words)
        line = (
            f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _tyro_supernet; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        done = subprocess.run(["bash", "-c", f". ./supernet; {line}"], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert set(cli.COMMANDS) <= set(completed("supernet", ""))
    assert completed("supernet", "retr") == ["retrain"]
    assert completed("supernet", "search", "digits", "--epo") == ["--epochs"]
    assert completed("supernet", "search", "digits", "--split", "str") == ["stratified"]
    assert completed("supernet", "search", "--watch") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(shell: str, call: Call) -> None:
    status, script, err = call("completion", shell)
    assert (status, err) == (0, "")
    assert all(name in script for name in cli.COMMANDS)
    assert "$python_cmd -I -c" in script or '"$python_cmd" -I - ' in script


def test_an_unknown_shell_is_one_line(call: Call) -> None:
    assert call("completion", "tcsh")[2].startswith("supernet: SHELL takes bash, zsh or fish, not 'tcsh' (see ")
