"""What is measured from a label map beside areas: ratios, nearness, interfaces, connected regions."""
