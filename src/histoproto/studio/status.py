"""All that the page shows beside tiles and slides, in one answer."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from histoproto.studio.advice import advice
from histoproto.studio.rounds import finished_rounds, read_scores
from histoproto.studio.scales import told
from histoproto.studio.session import Session


def status(session: Session) -> dict[str, Any]:
    """All that the page shows beside tiles: settings, slides, counts, scores, progress, advice, jobs."""
    project, learner, beginning = session.project, session.learner, session.beginning
    embedder = beginning.embedder
    if project is None:
        waiting = told(beginning.waiting())
        return {"project": None, "slides": [task.path.name for task in session.tasks], "waiting": waiting}
    labels = project.store.labels().values()
    tiles = project.store.tiles()
    tiles_of = Counter(tile.slide for tile in tiles.values())
    said = [label for label in labels if label.verdict == "label"]
    labels_of = Counter(tiles[label.tile].slide for label in said)
    _, known = session.known()
    return {
        "project": {
            "name": session.folder.resolve().name,
            "tissues": [{"name": one.name, "colour": one.colour} for one in project.tissues.tissues],
            "mpp": project.settings.mpp,
            "tile": project.settings.tile,
            "doubles": project.settings.doubles,
        },
        "slides": [
            {
                "name": slide.name,
                "width": slide.width,
                "height": slide.height,
                "mpp": slide.mpp,
                "labels": labels_of[slide.name],
                "tiles": tiles_of[slide.name],
                "missing": slide.name in beginning.missing,
            }
            for slide in project.store.slides()
        ],
        "waiting": told(beginning.waiting()),
        "labels": {
            "all": len(said),
            "events": project.store.count_events(),
            "checks": sum(tiles[label.tile].checks for label in said),
            "unsure": sum(label.verdict == "unsure" for label in labels),
            "excluded": sum(label.verdict == "exclude" for label in labels),
            "ticks": {name: sum(name in label.ticks for label in said) for name in project.tissues.names},
        },
        "looking": {"done": embedder.done, "of": embedder.total, "working": embedder.working} if embedder else None,
        "busy": beginning.busy,
        "notes": beginning.notes,
        "problem": beginning.problem,
        "learning": {
            "working": learner.working,
            "doing": learner.doing,
            "part": learner.part,
            "whole": learner.whole,
            "seconds": round(time.monotonic() - learner.started) if learner.working else 0,
            "took": round(learner.took),
            "problem": learner.problem,
        }
        if learner
        else None,
        "ahead": session.looked().ahead.state(),
        "round": session.round,
        "rounds": finished_rounds(project),
        "scores": [vars(score) for score in read_scores(project)],
        "advice": [vars(one) for one in advice(known)],
        "plateau": session.plateau and vars(session.plateau),
        "jobs": session.jobs.state() if session.jobs else {},
    }
