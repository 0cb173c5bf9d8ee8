// The parameters of vit.py's ViT: their names and shapes in a checkpoint, the
// values that they begin with, and who moves them in training.

import { positionParameters } from "./learned_positions.js";

const GROUPS = ["blocks", "others", "rest"]; // "rest" does not decay

// In a checkpoint's order: [{ name, shape, draw }]. draw takes a Random and
// returns one value, as `init_weights` in vit.py draws it.
export function parametersOf(config) {
  const { dim, depth, channels, num_classes, pool } = config;
  const [p1, p2 = p1] = [config.patch_size].flat();
  const pixels = p1 * p2 * channels;
  return [
    ...(pool === "cls" ? [{ name: "cls_token", shape: [1, 1, dim] }] : []),
    ...positions(config),
    ...linear("to_patch_embedding.1", pixels, dim, truncated(pixels ** -0.5)),
    ...Array.from({ length: depth }, (_, i) => layer(config, i)).flat(),
    ...norm("mlp_head.0", dim),
    ...linear("mlp_head.1", dim, num_classes, zero),
  ].map((each) => ({ draw: zero, ...each }));
}

// In the order of their groups, as optimizers.js takes them: { parameters,
// groups }. Muon moves the blocks' matrices where the recipe has a rate for it.
export function grouped(all, recipe) {
  const groupOf = ({ name, shape }) => {
    if (!isMatrix(name, shape)) return "rest";
    const inBlock = name.startsWith("transformer.");
    return inBlock && recipe.matrix_lr !== null ? "blocks" : "others";
  };
  const groups = Object.fromEntries(
    GROUPS.map((group) => [
      group,
      all.filter((parameter) => groupOf(parameter) === group),
    ]),
  );
  return { groups, parameters: GROUPS.flatMap((group) => groups[group]) };
}

// Of a linear layer: positions may have two axes, too.
export function isMatrix(name, shape) {
  return name.endsWith(".weight") && shape.length > 1;
}

function positions(config) {
  const draw = normal(0.02);
  return positionParameters(config).map((each) => ({ ...each, draw }));
}

function layer({ dim, heads, dim_head, mlp_dim, qkv_bias }, number) {
  const at = `transformer.layers.${number}`;
  const inner = heads * dim_head;
  const whole = heads === 1 && dim_head === dim; // one full head: none to join
  const three = xavier(dim, inner); // matrices in one
  const qkv = linear(`${at}.0.fn.to_qkv`, dim, 3 * inner, three);
  const join = linear(`${at}.0.fn.to_out.0`, inner, dim, xavier(inner, dim));
  const [widen, narrow] = [xavier(dim, mlp_dim), xavier(mlp_dim, dim)];
  return [
    ...norm(`${at}.0.norm`, dim),
    ...(qkv_bias ? qkv : qkv.slice(0, 1)),
    ...(whole ? [] : join),
    ...norm(`${at}.1.norm`, dim),
    ...linear(`${at}.1.fn.net.0`, dim, mlp_dim, widen, normal(1e-6)),
    ...linear(`${at}.1.fn.net.3`, mlp_dim, dim, narrow, normal(1e-6)),
  ];
}

function linear(name, inputs, outputs, weight, bias = zero) {
  return [
    { name: `${name}.weight`, shape: [outputs, inputs], draw: weight },
    { name: `${name}.bias`, shape: [outputs], draw: bias },
  ];
}

function norm(name, dim) {
  return [
    { name: `${name}.weight`, shape: [dim], draw: () => 1 },
    { name: `${name}.bias`, shape: [dim] },
  ];
}

function zero() {
  return 0;
}

function normal(std) {
  return (random) => std * random.normal();
}

// From -2 to 2, whatever the standard deviation, as PyTorch's.
function truncated(std) {
  return (random) => {
    for (;;) {
      const value = std * random.normal();
      if (Math.abs(value) <= 2) return value;
    }
  };
}

function xavier(inputs, outputs) {
  const most = Math.sqrt(6 / (inputs + outputs));
  return (random) => most * (2 * random.uniform() - 1);
}
