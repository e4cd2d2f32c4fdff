"""Evaluation: confusion matrix and scores, boundary scores, protocols, prototype measures."""
