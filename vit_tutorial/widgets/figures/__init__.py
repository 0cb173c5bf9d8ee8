"""The interactive figures: one each, its Python, JavaScript and style side by side."""
