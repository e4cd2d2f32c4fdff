"""Reading and writing small files of other people's making: YAML, JSON and tables, each in one place, with limits."""
