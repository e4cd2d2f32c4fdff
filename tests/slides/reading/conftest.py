from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import zoom

HEIGHT, WIDTH = 300, 421


@pytest.fixture(scope="session")
def picture() -> NDArray[np.uint8]:
    """Smooth, so that it survives JPEG, bright as tissue on glass is, and different everywhere."""
    knots = np.random.default_rng(0).uniform(0, 255, (7, 9, 3))
    return zoom(knots, (HEIGHT / 7, WIDTH / 9, 1), order=1).astype(np.uint8)
