"""Any ViT on any photo: a stage, whose parts have a folder of their own."""
