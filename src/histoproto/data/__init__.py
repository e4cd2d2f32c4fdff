"""Where patches and labels come from: images, layouts, checking, cutting, the phantom, and the patch dataset."""
