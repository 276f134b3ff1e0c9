"""The `rvm` command's table."""

import importlib

import pytest

from rvm_training.__main__ import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_main_and_a_help(command, capsys):
    assert callable(importlib.import_module(COMMANDS[command][0]).main)
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"usage: rvm {command}" in capsys.readouterr().out


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)


def test_no_command_prints_the_help_and_fails(capsys):
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


def test_an_unknown_command_is_named(capsys):
    assert main(["fly"]) == 2
    assert "got command 'fly', expected one of weights" in capsys.readouterr().err


def test_what_a_user_did_wrong_is_one_line_and_status_1(capsys, tmp_path):
    assert main(["weights", "show", str(tmp_path / "none.npz")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("rvm weights: weights: got ")
    assert error.count("\n") == 1
