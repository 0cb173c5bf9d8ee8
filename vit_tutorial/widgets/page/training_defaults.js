// What the trainer in the page begins with: RECIPES["page"] of recipes.py.

export const MODEL = {
  image_size: 28,
  patch_size: 7,
  num_classes: 10,
  dim: 32,
  depth: 2,
  heads: 2,
  mlp_dim: 64,
  pool: "cls",
  channels: 1,
  dim_head: 16,
  dropout: 0,
  emb_dropout: 0,
  qkv_bias: true,
  position: "learned",
  eps: 1e-6,
};

export const RECIPE = {
  epochs: 22,
  repeats: 1,
  batch_size: 64,
  lr: 5e-3,
  matrix_lr: 0.01,
  weight_decay: 0.05,
  warm_up: 0.05,
  label_smoothing: 0,
  clip: 1,
  flip: true,
  shift: 1,
  erase: 0,
  drop_patches: 0,
};

export const SEED = 0;

export const IMAGES = 6_000; // to train on
