// What each library calls the weights of a Vision Transformer: one set of
// tables, for the page and for Python, which reads what stands between the
// backticks here (checkpoint_names.py).
//
// Ours on the left, theirs on the right. "…" stands for what precedes the names
// of layer {i}, given in the first line; with us it is
// "transformer.layers.{i}.". Only weights are listed: the bias of each has the
// same name but for "bias" at the end. {query,key,value} are three weights of
// theirs that make one of ours. Where ours is repeated, the first lines are one
// spelling of the whole table, the second lines another.

export const TIMM = `
    …                            blocks.{i}.
    cls_token                    cls_token
    pos_embedding                pos_embed
    to_patch_embedding.1.weight  patch_embed.proj.weight
    …0.norm.weight               …norm1.weight
    …0.fn.to_qkv.weight          …attn.qkv.weight
    …0.fn.to_out.0.weight        …attn.proj.weight
    …1.norm.weight               …norm2.weight
    …1.fn.net.0.weight           …mlp.fc1.weight
    …1.fn.net.3.weight           …mlp.fc2.weight
    mlp_head.0.weight            norm.weight
    mlp_head.0.weight            fc_norm.weight
    mlp_head.1.weight            head.weight
`;
// DINOv2 multiplies what each half of a layer adds by LayerScale's factors, one
// for each of the D entries; they are folded into the weights.
export const TIMM_LAYER_SCALE = `
    …0.fn.to_out.0.gamma         …ls1.gamma
    …1.fn.net.3.gamma            …ls2.gamma
`;
export const TORCHVISION = `
    …                            encoder.layers.encoder_layer_{i}.
    cls_token                    class_token
    pos_embedding                encoder.pos_embedding
    to_patch_embedding.1.weight  conv_proj.weight
    …0.norm.weight               …ln_1.weight
    …0.fn.to_qkv.weight          …self_attention.in_proj_weight
    …0.fn.to_out.0.weight        …self_attention.out_proj.weight
    …1.norm.weight               …ln_2.weight
    …1.fn.net.0.weight           …mlp.0.weight
    …1.fn.net.0.weight           …mlp.linear_1.weight
    …1.fn.net.3.weight           …mlp.3.weight
    …1.fn.net.3.weight           …mlp.linear_2.weight
    mlp_head.0.weight            encoder.ln.weight
    mlp_head.1.weight            heads.head.weight
`;
export const HUGGING_FACE = `
    …                            encoder.layer.{i}.
    …                            layers.{i}.
    cls_token                    embeddings.cls_token
    pos_embedding                embeddings.position_embeddings
    to_patch_embedding.1.weight  embeddings.patch_embeddings.projection.weight
    …0.norm.weight               …layernorm_before.weight
    …0.fn.to_qkv.weight          …attention.attention.{query,key,value}.weight
    …0.fn.to_qkv.weight          …attention.{q_proj,k_proj,v_proj}.weight
    …0.fn.to_out.0.weight        …attention.output.dense.weight
    …0.fn.to_out.0.weight        …attention.o_proj.weight
    …1.norm.weight               …layernorm_after.weight
    …1.fn.net.0.weight           …intermediate.dense.weight
    …1.fn.net.0.weight           …mlp.fc1.weight
    …1.fn.net.3.weight           …output.dense.weight
    …1.fn.net.3.weight           …mlp.fc2.weight
    mlp_head.0.weight            layernorm.weight
    mlp_head.1.weight            classifier.weight
`;
export const HUGGING_FACE_DINOV2 = `
    …                            encoder.layer.{i}.
    cls_token                    embeddings.cls_token
    pos_embedding                embeddings.position_embeddings
    to_patch_embedding.1.weight  embeddings.patch_embeddings.projection.weight
    …0.norm.weight               …norm1.weight
    …0.fn.to_qkv.weight          …attention.attention.{query,key,value}.weight
    …0.fn.to_qkv.weight          …attention.{q_proj,k_proj,v_proj}.weight
    …0.fn.to_out.0.weight        …attention.output.dense.weight
    …0.fn.to_out.0.weight        …attention.o_proj.weight
    …0.fn.to_out.0.gamma         …layer_scale1.lambda1
    …1.norm.weight               …norm2.weight
    …1.fn.net.0.weight           …mlp.fc1.weight
    …1.fn.net.3.weight           …mlp.fc2.weight
    …1.fn.net.3.gamma            …layer_scale2.lambda1
    mlp_head.0.weight            layernorm.weight
    mlp_head.1.weight            classifier.weight
`;
export const GOOGLE = `
    …                            Transformer/encoderblock_{i}/
    cls_token                    cls
    pos_embedding                Transformer/posembed_input/pos_embedding
    pos_embedding                Transformer/posembed_input/pos_embedding
    pos_embedding                pos_embedding
    to_patch_embedding.1.weight  embedding/kernel
    …0.norm.weight               …LayerNorm_0/scale
    …0.fn.to_qkv.weight …MultiHeadDotProductAttention_1/{query,key,value}/kernel
    …0.fn.to_qkv.weight …MultiHeadDotProductAttention_0/{query,key,value}/kernel
    …0.fn.to_out.0.weight        …MultiHeadDotProductAttention_1/out/kernel
    …0.fn.to_out.0.weight        …MultiHeadDotProductAttention_0/out/kernel
    …1.norm.weight               …LayerNorm_2/scale
    …1.norm.weight               …LayerNorm_1/scale
    …1.fn.net.0.weight           …MlpBlock_3/Dense_0/kernel
    …1.fn.net.0.weight           …MlpBlock_0/Dense_0/kernel
    …1.fn.net.3.weight           …MlpBlock_3/Dense_1/kernel
    …1.fn.net.3.weight           …MlpBlock_0/Dense_1/kernel
    mlp_head.0.weight            Transformer/encoder_norm/scale
    mlp_head.1.weight            head/kernel
`;

// Hugging Face's classes put their own name in front of the model's names.
export const PREFIXES = `
    vit.
    dinov2.
    deit.
`;
// Weights that no prediction depends on: the token that stands for a hidden
// patch in training, and the layer after what we read of a ViTModel.
export const UNUSED = `
    mask_token
    embeddings.mask_token
    pooler.dense.weight
    pooler.dense.bias
`;
// Parts that our ViT doesn't have, by a piece of their names.
export const FOREIGN = `
    reg_token            register tokens
    register_tokens      register tokens
    dist_token           a distillation token
    distillation_token   a distillation token
    rel_pos              relative positions
    relative_position    relative positions
    attn_pool            attention pooling
    MAPHead              attention pooling
    q_norm               a norm on its queries and keys
    gate_proj            a gated MLP
    mlp.weights_in       a gated MLP
`;
