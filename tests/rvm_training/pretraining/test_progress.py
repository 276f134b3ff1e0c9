import re

from rvm_training.pretraining.fit import fit


def shown(capsys) -> list[tuple[int, int]]:
    return [
        (int(done), int(of)) for done, of in re.findall(r"Training:[^/\r]*?(\d+)/(\d+) \[", capsys.readouterr().out)
    ]


def test_the_bar_counts_optimizer_steps_of_the_run(tiny_run, capsys):
    fit(tiny_run("machine.micro_batch=4"))
    steps = shown(capsys)
    assert {of for _, of in steps} == {6}
    assert steps[-1][0] == 6


def test_the_bar_of_a_run_that_goes_on_begins_where_it_stopped(tiny_run, capsys):
    fit(tiny_run("machine.stop_at_step=4"))
    first = shown(capsys)
    assert {of for _, of in first} == {6}
    assert first[-1][0] == 4
    fit(tiny_run())
    steps = shown(capsys)
    assert {of for _, of in steps} == {6}
    assert min(done for done, _ in steps) == 4
    assert steps[-1][0] == 6
