"""The trainer, a stage: its parts have a folder of their own."""
