"""Inputs are shared out by option, by torchrun, by SLURM, and by both of these together."""

import pytest

from rvm_training.offline.share import share, share_of

ARRAY = {"SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "5"}


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("", {}, (0, 1)),
        ("2/5", {"RANK": "0", "WORLD_SIZE": "2"}, (2, 5)),
        ("", {"RANK": "1", "WORLD_SIZE": "4"}, (1, 4)),
        ("", {"RANK": "1"}, (0, 1)),
        ("", ARRAY, (1, 3)),
        ("", {**ARRAY, "RANK": "1", "WORLD_SIZE": "2"}, (4, 6)),
    ],
)
def test_the_share_of_a_process(text, environment, expected):
    assert share_of(text, environment) == expected


def test_all_processes_together_have_each_input_once():
    together = []
    for task in ("5", "6", "7"):
        for rank in ("0", "1"):
            environment = {**ARRAY, "SLURM_ARRAY_TASK_ID": task, "RANK": rank, "WORLD_SIZE": "2"}
            together += share(list(range(20)), *share_of("", environment))
    assert sorted(together) == list(range(20))


@pytest.mark.parametrize("text", ["5/5", "1", "a/b", "-1/3"])
def test_what_is_no_share_is_told(text):
    with pytest.raises(ValueError, match="expected I/N with I from 0 to N - 1"):
        share_of(text, {})
