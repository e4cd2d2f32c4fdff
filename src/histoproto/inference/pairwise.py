"""The pairwise kernel of a dense CRF in low-rank form: filtering a batch of images is a handful of matrix products.

A dense CRF joins every pixel i to every pixel j by

    k(i, j) = w_g · exp(−|x_i − x_j|² / 2σ_g²)  +  w_b · exp(−|x_i − x_j|² / 2σ_b²) · exp(−|c_i − c_j|² / 2σ_c²)

with positions x and colours c, each of the two terms divided by the roots of its row and column sums (Krähenbühl &
Koltun, "Efficient inference in fully connected CRFs with Gaussian edge potentials", NIPS 2011). Two approximations
make this N×N matrix cheap to multiply with:

* the colour factor becomes E · K⁻¹ · Eᵀ with a small palette of colours chosen for each image (Nyström method;
  Williams & Seeger, NIPS 2000): stained tissue has few colours, most of them near one line in RGB;
* the spatial factor acts between the nodes of a coarse grid; pixels are spread to, and read from, the four nodes
  around them with bilinear weights.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PALETTE_SAMPLE = 1024
"""About as many evenly spaced pixels of an image as its palette is chosen from."""

RIDGE = 1e-4
"""Added to the diagonal of the palette's own kernel, which is singular where two of its colours are the same."""


class PixelGrid:
    """Images cut into square cells of s×s pixels, whose corners are the nodes of a coarse grid.

    Pixels are kept as *cells*: (B·h·w)×C×s² for h×w cells. Images whose sides are no multiple of s are padded at the
    right and bottom.

    Args:
        height: of the images, in pixels.
        width: of the images, in pixels.
        cell: side s of a cell, in pixels.
        like: a tensor of the floating type and on the device to compute with.
    """

    def __init__(self, height: int, width: int, cell: int, like: Tensor) -> None:
        self.height, self.width, self.cell = height, width, cell
        self.rows, self.columns = -(-height // cell), -(-width // cell)
        self._like = like
        right = (torch.arange(cell, device=like.device, dtype=like.dtype) + 0.5) / cell
        along = torch.stack([1 - right, right])
        self._tent = torch.einsum("ai,bj->abij", along, along).reshape(4, cell * cell)

    def to_cells(self, maps: Tensor) -> Tensor:
        """B×C×H×W to (B·h·w)×C×s², with zeros in the padding."""
        batch, channels, s = maps.shape[0], maps.shape[1], self.cell
        maps = F.pad(maps, (0, self.columns * s - self.width, 0, self.rows * s - self.height))
        maps = maps.view(batch, channels, self.rows, s, self.columns, s)
        return maps.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, s * s)

    def from_cells(self, cells: Tensor) -> Tensor:
        """(B·h·w)×C×s² to B×C×H×W, without the padding."""
        channels, s = cells.shape[1], self.cell
        maps = cells.view(-1, self.rows, self.columns, channels, s, s).permute(0, 3, 1, 4, 2, 5)
        return maps.reshape(-1, channels, self.rows * s, self.columns * s)[..., : self.height, : self.width]

    def spread(self, values: Tensor, features: Tensor) -> Tensor:
        """Sums of value · feature around each node.

        Args:
            values: (B·h·w)×C×s².
            features: (B·h·w)×s²×R.

        Returns:
            B×(h+1)×(w+1)×C×R.
        """
        channels = values.shape[1]
        sums = torch.bmm((values[:, :, None] * self._tent).flatten(1, 2), features)
        sums = sums.view(-1, self.rows, self.columns, channels, 4, features.shape[2])
        nodes = sums.new_zeros(sums.shape[0], self.rows + 1, self.columns + 1, channels, features.shape[2])
        for part, corner in zip(_corners(nodes), sums.unbind(4), strict=True):
            part.add_(corner)
        return nodes

    def read(self, nodes: Tensor, features: Tensor) -> Tensor:
        """The transpose of `spread`: at each pixel, the sum over features of feature · node value, (B·h·w)×C×s²."""
        channels, rank = nodes.shape[3:]
        around = torch.stack(_corners(nodes), 4).view(-1, channels * 4, rank)
        read = torch.bmm(around, features.transpose(1, 2)).view(-1, channels, 4, features.shape[1])
        return (read * self._tent).sum(2)

    def blur(self, nodes: Tensor, sigma: float) -> Tensor:
        """Gaussian of sigma pixels from node to node, such that `spread`, `blur`, `read` together blur by sigma.

        Bilinear weights blur as well: by a variance of s²/6 + 1/12 (mean over the pixels of a cell), once when
        spreading, once when reading.
        """
        variance = sigma**2 - 2 * (self.cell**2 / 6 + 1 / 12)
        batch, y, x, channels, rank = nodes.shape
        nodes = self._gaussian(y, variance) @ nodes.reshape(batch, y, -1)
        nodes = self._gaussian(x, variance) @ nodes.view(batch * y, x, -1)
        return nodes.view(batch, y, x, channels, rank)

    def _gaussian(self, count: int, variance: float) -> Tensor:
        place = self.cell * torch.arange(count, device=self._like.device, dtype=self._like.dtype)
        return torch.exp((place[:, None] - place).square() / (-2 * variance))


def _corners(nodes: Tensor) -> list[Tensor]:
    """Views of the nodes B×(h+1)×(w+1)×… at the four corners of each cell, B×h×w×… each."""
    return [nodes[:, :-1, :-1], nodes[:, :-1, 1:], nodes[:, 1:, :-1], nodes[:, 1:, 1:]]


def choose_palette(colours: Tensor, count: int) -> Tensor:
    """A few colours near all of an image's: farthest-point sampling, then one step of k-means.

    Args:
        colours: B×N×3.
        count: colours in the palette, K.

    Returns:
        B×K×3; with repetitions where an image has fewer than K colours.
    """
    image = torch.arange(len(colours), device=colours.device)
    last = colours.mean(1)
    far = colours.new_full(colours.shape[:2], torch.inf)
    chosen = []
    for _ in range(count):
        far = torch.minimum(far, (colours - last[:, None]).square().sum(-1))
        last = colours[image, far.argmax(1)]
        chosen.append(last)
    palette = torch.stack(chosen, 1)
    nearest = F.one_hot(torch.cdist(colours, palette).argmin(2), count).to(colours.dtype)
    # A colour that is nearest to no pixel stays where it was.
    weight = 1e-3
    return (nearest.transpose(1, 2) @ colours + weight * palette) / (nearest.sum(1)[..., None] + weight)


def colour_features(colours: Tensor, palette: Tensor) -> Tensor:
    """φ with φ(c) · φ(d) ≈ exp(−|c − d|² / 2): Nyström features of the Gaussian kernel.

    Args:
        colours: B×N×3, in standard deviations of the kernel.
        palette: B×K×3, likewise.

    Returns:
        B×N×K.
    """
    own = torch.exp((palette[:, :, None] - palette[:, None]).square().sum(-1) / -2)
    identity = torch.eye(palette.shape[1], device=palette.device, dtype=palette.dtype)
    root = torch.linalg.cholesky(own + RIDGE * identity)
    inverse = torch.linalg.solve_triangular(root, identity.expand_as(root), upper=False)
    lengths = colours.square().sum(-1)[..., None] + palette.square().sum(-1)[:, None]
    exponents = torch.baddbmm(lengths, colours, palette.transpose(1, 2), beta=-0.5)
    # Nothing is lost below exp(−40), and processors are slow with the denormal numbers there.
    return torch.bmm(exponents.clamp_(-40, 0).exp_(), inverse.transpose(1, 2))


class PairwiseKernel:
    """The sum of a Gaussian and a bilateral kernel, each normalised symmetrically, as an operator on cells of pixels.

    Args:
        grid: of the images.
        image: B×3×H×W, colours 0 to 255.
        gaussian: σ_g in pixels, and the weight w_g.
        bilateral: σ_b in pixels, σ_c in grey levels, and the weight w_b.
        colours: size of the palette.
    """

    def __init__(
        self,
        grid: PixelGrid,
        image: Tensor,
        gaussian: tuple[float, float],
        bilateral: tuple[float, float, float],
        colours: int,
    ) -> None:
        self._grid = grid
        self._sigmas = (gaussian[0], bilateral[0])
        inside = grid.to_cells(torch.ones_like(image[:, :1]))
        scaled = image / bilateral[1]
        step = max(1, image.shape[2] * image.shape[3] // PALETTE_SAMPLE)
        palette = choose_palette(scaled.flatten(2)[:, :, ::step].transpose(1, 2).contiguous(), colours)
        pixels = grid.to_cells(scaled).transpose(1, 2).reshape(len(image), -1, 3)
        flat = inside.transpose(1, 2)
        coloured = colour_features(pixels, palette).view(len(flat), -1, colours) * flat
        terms = []
        for features, sigma, weight in ((flat, *gaussian), (coloured, bilateral[0], bilateral[2])):
            sums = grid.read(grid.blur(grid.spread(inside, features), sigma), features)
            # A pixel is its own neighbour: no sum of the exact kernel is below 1.
            terms.append(features * (weight / sums.clamp_min(1)).sqrt().transpose(1, 2))
        self._features = torch.cat(terms, 2)

    def __call__(self, values: Tensor) -> Tensor:
        """k · values, for each channel: (B·h·w)×C×s² to the same."""
        nodes = self._grid.spread(values, self._features)
        parts = torch.split(nodes, [1, nodes.shape[4] - 1], 4)
        blurred = [self._grid.blur(part, sigma) for part, sigma in zip(parts, self._sigmas, strict=True)]
        return self._grid.read(torch.cat(blurred, 4), self._features)
