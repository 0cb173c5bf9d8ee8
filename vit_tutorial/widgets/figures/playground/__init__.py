"""The playground, the largest figure: its parts have a folder of their own."""
