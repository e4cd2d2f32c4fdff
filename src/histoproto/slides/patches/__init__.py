"""From slides to patches for training: annotated ones with labels, others for a person to label."""
