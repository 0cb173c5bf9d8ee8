"""The interactive figures, each with its Python, JavaScript and style."""
