"""Opening slides of any format and reading any rectangle at any scale."""
