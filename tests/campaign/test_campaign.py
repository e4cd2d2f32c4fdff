"""Bad inputs of every kind to every command: a refusal in a sentence or a right result, and nothing else.

Any traceback, exit code other than 0 and 2, hang, use of the last resort or more than 4 GiB of memory fails, and so
does exit code 0 where nothing but a refusal will do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from campaign.bench import Bench
from campaign.cases import every, one_by_one
from campaign.commands import CALLS, commands
from campaign.good import make_good

PARTS = 16
EACH = 6
"""One in so many of the cases is run; all of them take the better part of an hour."""


def test_every_command_has_a_call() -> None:
    assert set(CALLS) == set(commands())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(tmp_path_factory.mktemp("good"))
    make_good(bench)
    return bench


@pytest.mark.slow
def test_good_inputs_are_taken(bench: Bench, tmp_path: Path) -> None:
    for name, call in CALLS.items():
        if call.quick:
            folder = tmp_path / name
            folder.mkdir()
            bench.prepare(folder, call.needs)
            result = bench.run(folder, [*name.split(), *call.arguments])
            assert result.code == 0, f"{name}: {result.output}"


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_bad_inputs_are_answered(bench: Bench, tmp_path: Path, part: int) -> None:
    cases = [*every(bench.good)[::EACH], *one_by_one()]
    assert len(cases) >= 600
    wrong = []
    for number, case in enumerate(cases[part::PARTS]):
        folder = tmp_path / str(number)
        folder.mkdir()
        bench.prepare(folder, case.needs)
        case.spoil(folder)
        result = bench.run(folder, case.arguments)
        nod = "a nod" if case.refused and result.code == 0 else None
        if fault := result.fault or nod:
            wrong.append(f"{fault}: {case.name}\n{result.output[-1500:]}")
    assert not wrong, f"{len(wrong)} wrong answers\n" + "\n\n".join(wrong)
