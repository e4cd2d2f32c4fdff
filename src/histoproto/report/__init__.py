"""What people look at: `report.html` and the gallery of prototypes."""
