"""From a plan to a finished comparison: what is missing is run, the table follows after each run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from histoproto.compare.folds import write_folds
from histoproto.compare.page import PAGE_FILE
from histoproto.compare.plan import Plan, read_plan
from histoproto.compare.results import is_finished, read_run
from histoproto.compare.runner import Runner, Task, plan_tasks
from histoproto.compare.table import CSV_FILE, MARKDOWN_FILE, write_table
from histoproto.ledger import Ledger
from histoproto.words import counted


def complete(
    plan: Plan, out: Path, jobs: int = 1, paper: bool = False, tell: Callable[[str], None] = print
) -> list[Task]:
    """Run what a plan asks for and `out` does not have yet; rows that `out` has beside stay in its table.

    Args:
        plan: rows, seeds and data.
        out: the comparison folder; comparison.csv and comparison.md are written anew after each run.
        jobs: runs at a time.
        paper: score under the protocol `paper` too.
        tell: is given a line now and then.

    Returns:
        What failed; its logs say why.

    Raises:
        RunError: `out` compares something else, see `Plan.added_to`.
    """
    Ledger(out).require_own(out / name for name in (MARKDOWN_FILE, CSV_FILE, PAGE_FILE))
    plan.added_to(out).write(out)
    if plan.folds:
        write_folds(plan, out)

    def finished(task: Task) -> str:
        write_table(read_plan(out), out)
        run = read_run(task.variant, task.seed, task.run)
        assert run is not None
        own = run.values
        return f"mIoU {100 * own['miou']:.1f} %, trained in {own['seconds'] / 60:.1f} min"

    tasks = plan_tasks(plan, out)
    missing = [task for task in tasks if not is_finished(task.variant, task.seed, task.run, plan, paper)]
    if len(missing) < len(tasks):
        tell(f"{len(tasks) - len(missing)} of {counted(len(tasks), 'run')} are finished already")
    failed = Runner(plan.data, jobs, paper, tell, finished).run(missing)
    write_table(read_plan(out), out)
    return failed
