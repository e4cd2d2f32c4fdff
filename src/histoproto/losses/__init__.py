"""The three losses of LPD, one pure function each; none of them knows a model."""
