"""`python -m histoproto.compare.child ARGUMENTS`: the command line in a process that ends with its parent."""

from __future__ import annotations

import runpy

from histoproto.compare.parent import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    runpy.run_module("histoproto", run_name="__main__", alter_sys=True)
