// Written by test/fixtures/make_op_signatures.py from the registry of coremltools; do not edit.

/**
 * One line for every revision of an op: `opset parameters | type domains`. A parameter is
 * `!` (must be constant), its name, `?` (optional), `:` and its element types or the name of a type domain;
 * parameters of one domain must have one type. `()` is a variadic parameter, `[]` a list.
 */
export const OP_SIGNATURES = {
  abs: ["ios13 x:T | T=fp16,fp32,int32"],
  acos: ["ios13 x:T | T=fp16,fp32"],
  add: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  affine: [
    "ios15 x:T transform_matrix:T !output_height:int32 !output_width:int32 !sampling_mode:string !padding_mode:string !padding_value:T !coordinates_mode:string !align_corners:bool | T=fp16,fp32",
  ],
  argsort: ["ios13 x:T !axis?:int32 !ascending?:bool | T=fp16,fp32,int32"],
  asin: ["ios13 x:T | T=fp16,fp32"],
  atan: ["ios13 x:T | T=fp16,fp32"],
  atanh: ["ios13 x:T | T=fp16,fp32"],
  avg_pool: [
    "ios13 !exclude_padding_from_average?:bool x:T !kernel_sizes:int32 !strides?:int32 !pad_type:string !pad?:int32 !ceil_mode?:bool | T=fp16,fp32",
  ],
  band_part: ["ios13 x:T !lower?:int32 !upper?:int32 | T=fp16,fp32,int32,bool"],
  batch_norm: [
    "ios13 x:T !mean:T !variance:T !gamma?:T !beta?:T !epsilon?:T | T=fp16,fp32",
    "ios17 x:T !mean:U !variance:U !gamma?:U !beta?:U !epsilon?:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  batch_to_space: ["ios13 x:T !block_shape:int32 !crops:int32 | T=fp16,fp32"],
  cast: [
    "ios13 x:T !dtype:string | T=fp16,fp32,int32,bool",
    "ios17 x:T !dtype:string | T=fp16,fp32,int8,uint8,int16,uint16,int32,bool",
  ],
  ceil: ["ios13 x:T | T=fp16,fp32"],
  clamped_relu: [
    "ios13 x:T !alpha:T !beta:T | T=fp16,fp32",
    "ios17 x:T !alpha:U !beta:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  classify: ["ios13 probabilities:fp32 !classes:[]"],
  clip: ["ios13 x:T !alpha:T !beta:T | T=fp16,fp32"],
  concat: ["ios13 values:() !axis:int32 !interleave?:bool"],
  cond: ["ios13 pred:bool"],
  constexpr_affine_dequantize: [
    "ios16 !quantized_data:SrcT !zero_point:ZeroPointT !scale:DstT !axis:int32 | SrcT=uint8,int8 | ZeroPointT=uint8,int8,fp32 | DstT=fp16,fp32",
  ],
  constexpr_blockwise_shift_scale: [
    "ios18 !data:SrcT !scale:DstT !offset?:OffsetT | SrcT=int4,uint4,int8,uint8,fp16,fp32 | DstT=fp16,fp32 | OffsetT=int4,uint4,int8,uint8,fp16,fp32",
  ],
  constexpr_cast: ["ios16 !source_val:fp16 !output_dtype:string"],
  constexpr_lut_to_dense: [
    "ios16 !indices:uint8 !lut:T !shape:uint32 | T=int8,uint8,fp16,fp32",
    "ios18 !indices:IndicesT !lut:T !vector_axis?:int32 | IndicesT=uint1,uint2,uint3,uint4,uint6,uint8 | T=int8,uint8,fp16,fp32",
  ],
  constexpr_lut_to_sparse: [
    "ios18 !indices_mask:uint1 !indices_nonzero_data:IndicesT !lut:T !vector_axis?:int32 | IndicesT=uint1,uint2,uint3,uint4,uint6,uint8 | T=int8,uint8,fp16,fp32",
  ],
  constexpr_sparse_blockwise_shift_scale: [
    "ios18 !data_mask:uint1 !nonzero_data:SrcT !scale:DstT !offset?:OffsetT | SrcT=int4,uint4,int8,uint8,fp16,fp32 | DstT=fp16,fp32 | OffsetT=int4,uint4,int8,uint8,fp16,fp32",
  ],
  constexpr_sparse_to_dense: [
    "ios16 !nonzero_data:T !mask:uint8 !shape:uint32 | T=int8,uint8,fp16,fp32",
    "ios18 !nonzero_data:T !mask:uint1 | T=int4,uint4,int8,uint8,fp16,fp32",
  ],
  conv: [
    "ios13 x:T weight:T !bias?:T !strides?:int32 !pad_type?:string !pad?:int32 !dilations?:int32 !groups?:int32 | T=fp16,fp32",
    "ios17 x:T weight:U bias?:U !strides?:int32 !pad_type?:string !pad?:int32 !dilations?:int32 !groups?:int32 | T=fp16,fp32 | U=fp16,fp32",
  ],
  conv_quantized: [
    "ios13 x:T weight:U !bias?:U !quantization_type:string !nbits?:int32 !quant_scale:T !quant_bias:T !strides?:int32 !pad_type?:string !pad?:int32 !dilations?:int32 !groups?:int32 | T=fp32,fp16 | U=uint8",
  ],
  conv_transpose: [
    "ios13 x:T !weight:T !bias?:T !pad?:int32 !output_shape?:int32 !pad_type?:string !strides?:int32 !dilations?:int32 !groups?:int32 | T=fp16,fp32",
    "ios17 x:T weight:U bias?:U !pad?:int32 !output_shape?:int32 !pad_type?:string !strides?:int32 !dilations?:int32 !groups?:int32 | T=fp16,fp32 | U=fp16,fp32",
  ],
  cos: ["ios13 x:T | T=fp16,fp32"],
  cosh: ["ios13 x:T | T=fp16,fp32"],
  crop: ["ios13 x:T !crop_height:int32 !crop_width:int32 | T=fp16,fp32"],
  crop_resize: [
    "ios13 x:T roi:T !target_height?:int32 !target_width?:int32 !normalized_coordinates?:bool !spatial_scale?:fp32 !box_coordinate_mode?:string !sampling_mode?:string | T=fp16,fp32",
    "ios16 x:T roi:T !target_height?:int32 !target_width?:int32 !normalized_coordinates?:bool !spatial_scale?:fp32 !box_coordinate_mode?:string !sampling_mode?:string !pad_value?:T | T=fp16,fp32",
    "ios17 x:T boxes:BOX_T box_indices?:BOX_INDEX_T !target_height?:int32 !target_width?:int32 !normalized_coordinates?:bool !spatial_scale?:fp32 !box_coordinate_mode?:string !sampling_mode?:string !pad_value?:T | T=fp16,fp32 | BOX_T=fp16,fp32,uint16 | BOX_INDEX_T=uint16,int32",
  ],
  cumsum: ["ios13 x:T !axis?:int32 !exclusive?:bool !reverse?:bool | T=fp16,fp32,int32"],
  depth_to_space: ["ios13 x:T !block_size:int32 | T=fp16,fp32"],
  dequantize: [
    "ios17 input:SrcT !zero_point?:SrcT !scale:DstT !axis?:int32 | DstT=fp16,fp32 | SrcT=uint8,int8",
  ],
  einsum: ["ios13 values:() !equation:string"],
  elu: ["ios13 x:T !alpha:T | T=fp16,fp32", "ios17 x:T !alpha:U | T=fp16,fp32 | U=fp16,fp32"],
  equal: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  erf: ["ios13 x:T | T=fp16,fp32"],
  exp: ["ios13 x:T | T=fp16,fp32"],
  exp2: ["ios13 x:T | T=fp16,fp32,int32"],
  expand_dims: [
    "ios13 x:T !axes:int32 | T=fp16,fp32,int32,bool",
    "ios17 x:T !axes:int32 | T=fp16,fp32,int8,int16,int32,uint8,uint16,bool",
  ],
  fill: ["ios13 shape:int32 !value?:T | T=fp16,fp32,int32,bool"],
  fill_like: ["ios16 ref_tensor:T !value?:U | T=fp16,fp32,int32,bool | U=fp16,fp32,int32,bool"],
  flatten2d: ["ios13 x:T !axis?:int32 | T=fp16,fp32,int32,bool"],
  floor: ["ios13 x:T | T=fp16,fp32"],
  floor_div: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  gather: [
    "ios13 x:T indices:int32 !axis?:int32 | T=fp16,fp32,int32",
    "ios16 x:T indices:I !axis?:int32 !batch_dims?:int32 | T=fp16,fp32,int32 | I=int32,uint16,int16",
    "ios17 x:T indices:I !axis?:int32 !batch_dims?:int32 !validate_indices?:bool | T=fp16,fp32,int32,int16,uint16,int8,uint8 | I=int32,int16,uint16,int8,uint8",
  ],
  gather_along_axis: [
    "ios13 x:T indices:int32 !axis?:int32 | T=fp16,fp32,int32",
    "ios16 x:T indices:I !axis?:int32 | T=fp16,fp32,int32 | I=int32,uint16,int16",
    "ios17 x:T indices:I !axis?:int32 !validate_indices?:bool | T=fp16,fp32,int32,int16,uint16,int8,uint8 | I=int32,int16,uint16,int8,uint8",
  ],
  gather_nd: [
    "ios13 x:T indices:int32 | T=fp16,fp32,int32",
    "ios16 x:T indices:I !batch_dims?:int32 | T=fp16,fp32,int32 | I=int32,uint16,int16",
    "ios17 x:T indices:I !batch_dims?:int32 !validate_indices?:bool | T=fp16,fp32,int32,int16,uint16,int8,uint8 | I=int32,int16,uint16,int8,uint8",
  ],
  gelu: ["ios13 x:T !mode?:string | T=fp16,fp32"],
  greater: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  greater_equal: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  gru: [
    "ios13 x:T initial_h:T !weight_ih:T !weight_hh:T !bias?:T !direction?:string !output_sequence?:bool !recurrent_activation?:string !activation?:string | T=fp32",
    "ios17 x:T initial_h:T !weight_ih:T !weight_hh:T !bias?:T !direction?:string !output_sequence?:bool !recurrent_activation?:string !activation?:string | T=fp16,fp32",
    "ios18 x:T initial_h:T !weight_ih:T !weight_hh:T !bias?:T !direction?:string !output_sequence?:bool !recurrent_activation?:string !activation?:string !reset_after?:bool !input_bias?:T | T=fp16,fp32",
  ],
  identity: ["ios13 x"],
  instance_norm: [
    "ios13 x:T !gamma?:T !beta?:T !epsilon?:T | T=fp16,fp32",
    "ios17 x:T !gamma?:U !beta?:U !epsilon?:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  inverse: [
    "ios13 x:T !epsilon?:T | T=fp16,fp32",
    "ios17 x:T !epsilon?:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  l2_norm: [
    "ios13 x:T !epsilon?:T | T=fp16,fp32",
    "ios17 x:T !epsilon?:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  l2_pool: [
    "ios13 x:T !kernel_sizes:int32 !strides?:int32 !pad_type:string !pad?:int32 !ceil_mode?:bool | T=fp16,fp32",
  ],
  layer_norm: [
    "ios13 x:T !axes?:int32 !gamma?:T !beta?:T !epsilon?:T | T=fp16,fp32",
    "ios17 x:T !axes?:int32 !gamma?:U !beta?:U !epsilon?:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  leaky_relu: [
    "ios13 x:T !alpha:T | T=fp16,fp32",
    "ios17 x:T !alpha:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  less: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  less_equal: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  linear: [
    "ios13 x:T !weight:T !bias?:T | T=fp16,fp32,int32",
    "ios17 x:T !weight:U !bias?:U | T=fp16,fp32,int32 | U=fp16,fp32,int32",
  ],
  linear_activation: [
    "ios13 x:T !alpha:T !beta:T | T=fp16,fp32",
    "ios17 x:T !alpha:U !beta:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  list_gather: ["ios13 ls:[] indices:int32"],
  list_length: ["ios13 ls:[]"],
  list_read: ["ios13 ls:[] index:int32"],
  list_scatter: ["ios13 ls:[] indices:int32 value:T | T=fp16,fp32,bool,int32"],
  list_write: ["ios13 ls:[] index:int32 value:T | T=fp16,fp32,bool,int32"],
  local_response_norm: [
    "ios13 x:T !size:int32 !alpha?:T !beta?:T !k?:T | T=fp16,fp32",
    "ios17 x:T !size:int32 !alpha?:U !beta?:U !k?:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  log: ["ios13 x:T !epsilon?:T | T=fp16,fp32", "ios17 x:T !epsilon?:U | T=fp16,fp32 | U=fp16,fp32"],
  logical_and: ["ios13 x:T y:T | T=bool"],
  logical_not: ["ios13 x:bool"],
  logical_or: ["ios13 x:T y:T | T=bool"],
  logical_xor: ["ios13 x:T y:T | T=bool"],
  lstm: [
    "ios13 x:T initial_h:T initial_c:T !weight_ih:T !weight_hh:T !bias?:T !peephole?:T !weight_ih_back?:T !weight_hh_back?:T !bias_back?:T !peephole_back?:T !direction?:string !output_sequence?:bool !recurrent_activation?:string !cell_activation?:string !activation?:string !clip?:T | T=fp32",
    "ios17 x:T initial_h:T initial_c:T !weight_ih:T !weight_hh:T !bias?:T !peephole?:T !weight_ih_back?:T !weight_hh_back?:T !bias_back?:T !peephole_back?:T !direction?:string !output_sequence?:bool !recurrent_activation?:string !cell_activation?:string !activation?:string !clip?:T | T=fp16,fp32",
  ],
  make_list: ["ios13 init_length?:int32 !dynamic_length?:bool elem_shape:() !dtype?:string"],
  matmul: [
    "ios13 x:T y:T !transpose_x?:bool !transpose_y?:bool | T=fp16,fp32,int32",
    "ios17 x:T y:U !transpose_x?:bool !transpose_y?:bool | T=fp16,fp32,int32 | U=fp16,fp32,int32",
  ],
  max_pool: [
    "ios13 x:T !kernel_sizes:int32 !strides?:int32 !pad_type:string !pad?:int32 !ceil_mode?:bool | T=fp16,fp32",
  ],
  maximum: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  minimum: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  mod: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  mul: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  non_maximum_suppression: [
    "ios13 boxes:T scores:T !iou_threshold:T !score_threshold:T !max_boxes:int32 !per_class_suppression?:bool | T=fp16,fp32",
    "ios17 boxes:T scores:T !iou_threshold:T !max_boxes:int32 !per_class_suppression?:bool | T=fp16,fp32",
  ],
  non_zero: ["ios13 x:T | T=fp16,fp32,int32,bool"],
  not_equal: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  one_hot: [
    "ios13 indices:int32 one_hot_vector_size:int32 !axis?:int32 !on_value?:T !off_value?:T | T=fp16,fp32,int32,bool",
  ],
  pad: ["ios13 x:T pad:int32 !mode?:string !constant_val?:T | T=fp16,fp32"],
  pixel_shuffle: ["ios13 x:T !upscale_factor:int32 | T=fp16,fp32"],
  pixel_unshuffle: ["ios16 x:T !downscale_factor:uint32 | T=fp16,fp32"],
  pow: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  prelu: ["ios13 x:T !alpha:T | T=fp16,fp32", "ios17 x:T !alpha:U | T=fp16,fp32 | U=fp16,fp32"],
  quantize: [
    "ios17 input:SrcT !zero_point?:DstT !scale:SrcT !axis?:int32 !output_dtype:string | SrcT=fp16,fp32 | DstT=uint8,int8",
  ],
  random_bernoulli: ["ios13 shape:int32 !prob?:T !seed?:int32 | T=fp16,fp32"],
  random_categorical: ["ios13 x:T !mode?:string !size?:int32 !seed?:int32 | T=fp16,fp32"],
  random_normal: ["ios13 shape:int32 !mean?:T !stddev?:T !seed?:int32 | T=fp16,fp32"],
  random_uniform: ["ios13 shape:int32 !low?:T !high?:T !seed?:int32 | T=fp16,fp32"],
  range_1d: ["ios13 end:T start:T step:T | T=fp16,fp32,int32"],
  read_state: ["ios18 input:state"],
  real_div: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  reduce_argmax: [
    "ios13 x:T !axis?:int32 !keep_dims?:bool | T=fp16,fp32,int32",
    "ios17 x:T !axis?:int32 !keep_dims?:bool !output_dtype?:string | T=fp16,fp32,int32",
  ],
  reduce_argmin: [
    "ios13 x:T !axis?:int32 !keep_dims?:bool | T=fp16,fp32,int32",
    "ios17 x:T !axis?:int32 !keep_dims?:bool !output_dtype?:string | T=fp16,fp32,int32",
  ],
  reduce_l1_norm: ["ios13 x:T !axes?:int32 !keep_dims?:bool | T=fp16,fp32,int32"],
  reduce_l2_norm: ["ios13 x:T !axes?:int32 !keep_dims?:bool | T=fp16,fp32,int32"],
  reduce_log_sum: ["ios13 x:T !axes?:int32 !keep_dims?:bool | T=fp16,fp32,int32"],
  reduce_log_sum_exp: ["ios13 x:T !axes?:int32 !keep_dims?:bool | T=fp16,fp32,int32"],
  reduce_max: ["ios13 x:T !axes?:int32 !keep_dims?:bool | T=fp16,fp32,int32"],
  reduce_mean: ["ios13 x:T !axes?:int32 !keep_dims?:bool | T=fp16,fp32,int32"],
  reduce_min: ["ios13 x:T !axes?:int32 !keep_dims?:bool | T=fp16,fp32,int32"],
  reduce_prod: ["ios13 x:T !axes?:int32 !keep_dims?:bool | T=fp16,fp32,int32"],
  reduce_sum: ["ios13 x:T !axes?:int32 !keep_dims?:bool | T=fp16,fp32,int32"],
  reduce_sum_square: ["ios13 x:T !axes?:int32 !keep_dims?:bool | T=fp16,fp32,int32"],
  relu: ["ios13 x:T | T=fp16,fp32"],
  relu6: ["ios13 x:T | T=fp16,fp32"],
  resample: [
    "ios15 x:T coordinates:U !sampling_mode:string !padding_mode:string !padding_value:T !coordinates_mode:string !align_corners:bool | T=fp16,fp32 | U=int32,fp32",
    "ios16 x:T coordinates:U !sampling_mode:string !padding_mode:string !padding_value:T !coordinates_mode:string !align_corners:bool | T=fp16,fp32 | U=int32,fp16,fp32",
    "ios17 x:T coordinates:U !sampling_mode:string !padding_mode:string !padding_value:T !coordinates_mode:string !align_corners:bool | T=fp16,fp32 | U=int8,uint8,int16,uint16,int32,fp16,fp32",
  ],
  reshape: [
    "ios13 x:T shape:int32 | T=fp16,fp32,int32,bool",
    "ios17 x:T shape:U | T=fp16,fp32,int8,uint8,int16,uint16,int32,bool | U=int8,int16,int32",
  ],
  reshape_like: [
    "ios16 x:T ref_tensors:() begins:() ends:() end_masks:() | T=fp16,fp32,int32,bool",
    "ios17 x:T ref_tensors:() begins:() ends:() end_masks:() | T=fp16,fp32,int8,int16,int32,uint8,uint16,bool",
  ],
  resize: [
    "ios17 x:T shape:U !resized_dims:uint32 !interpolation_mode?:string !sampling_mode?:string | T=fp16,fp32,int32 | U=int32,int16,uint16,uint32",
  ],
  resize_bilinear: [
    "ios13 x:T !target_size_height?:int32 !target_size_width?:int32 !sampling_mode?:string | T=fp16,fp32",
  ],
  resize_nearest_neighbor: [
    "ios13 x:T !target_size_height:int32 !target_size_width:int32 | T=fp16,fp32",
  ],
  reverse: [
    "ios13 x:T !axes?:int32 | T=fp16,fp32,int32,bool",
    "ios17 x:T !axes?:int32 | T=fp16,fp32,int8,int16,int32,uint8,uint16,bool",
  ],
  reverse_sequence: [
    "ios13 x:T lengths:int32 !seq_axis?:int32 !batch_axis?:int32 | T=fp16,fp32,int32,bool",
    "ios17 x:T lengths:U !seq_axis?:int32 !batch_axis?:int32 | T=fp16,fp32,int8,int16,int32,uint8,uint16,bool | U=int8,int16,int32",
  ],
  rnn: [
    "ios13 x:T initial_h:T !weight_ih:T !weight_hh:T !bias?:T !direction?:string !output_sequence?:bool !activation?:string | T=fp32",
    "ios17 x:T initial_h:T !weight_ih:T !weight_hh:T !bias?:T !direction?:string !output_sequence?:bool !activation?:string | T=fp16,fp32",
  ],
  round: ["ios13 x:T | T=fp16,fp32"],
  rsqrt: [
    "ios13 x:T !epsilon?:T | T=fp16,fp32",
    "ios17 x:T !epsilon?:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  scaled_dot_product_attention: [
    "ios18 query:T key:T value:T attn_mask?:M | T=fp16,fp32 | M=bool,fp16,fp32",
  ],
  scaled_tanh: [
    "ios13 x:T !alpha:T !beta:T | T=fp16,fp32",
    "ios17 x:T !alpha:U !beta:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  scatter: [
    "ios13 data:T indices:int32 updates:T !axis?:int32 !mode?:string | T=fp16,fp32,int32",
    "ios17 data:T indices:int32 updates:T !axis?:int32 !mode?:string !validate_indices?:bool | T=fp16,fp32,int32",
  ],
  scatter_along_axis: [
    "ios13 data:T indices:int32 updates:T !axis?:int32 !mode?:string | T=fp16,fp32,int32",
    "ios17 data:T indices:int32 updates:T !axis?:int32 !mode?:string !validate_indices?:bool | T=fp16,fp32,int32",
  ],
  scatter_nd: [
    "ios13 data:T indices:int32 updates:T !mode?:string | T=fp16,fp32,int32",
    "ios17 data:T indices:int32 updates:T !mode?:string !validate_indices?:bool | T=fp16,fp32,int32",
  ],
  select: ["ios13 cond:bool a:T b:T | T=fp16,fp32,bool,int32"],
  shape: ["ios13 x:T | T=fp16,fp32,int32,bool"],
  sigmoid: ["ios13 x:T | T=fp16,fp32"],
  sigmoid_hard: [
    "ios13 x:T !alpha:T !beta:T | T=fp16,fp32",
    "ios17 x:T !alpha:U !beta:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  sign: ["ios13 x:T | T=fp16,fp32,int32"],
  silu: ["ios13 x:T | T=fp16,fp32"],
  sin: ["ios13 x:T | T=fp16,fp32"],
  sinh: ["ios13 x:T | T=fp16,fp32"],
  slice_by_index: [
    "ios13 x:T begin:int32 end:int32 !stride?:int32 !begin_mask?:bool !end_mask?:bool !squeeze_mask?:bool | T=fp16,fp32,int32,bool",
    "ios17 x:T begin:U end:U !stride?:U !begin_mask?:bool !end_mask?:bool !squeeze_mask?:bool | T=fp16,fp32,int8,int16,int32,uint8,uint16,bool | U=int8,int16,int32",
  ],
  slice_by_size: [
    "ios13 x:T begin:int32 size:int32 | T=fp16,fp32,int32,bool",
    "ios17 x:T begin:U size:U | T=fp16,fp32,int8,int16,int32,uint8,uint16,bool | U=int8,int16,int32",
  ],
  slice_update: [
    "ios18 x:T update:T begin:U end:U !stride?:U !begin_mask?:bool !end_mask?:bool !squeeze_mask?:bool | T=fp16,fp32,int8,int16,int32,uint8,uint16,bool | U=int8,int16,int32",
  ],
  sliding_windows: [
    "ios13 x:T !axis:int32 !size:int32 !stride?:int32 | T=fp16,fp32,int32",
    "ios17 x:T !axis:int32 !size:int32 !stride?:int32 | T=fp16,fp32,int8,int16,int32,uint8,uint16,bool",
  ],
  softmax: ["ios13 x:T !axis?:int32 | T=fp16,fp32"],
  softplus: ["ios13 x:T | T=fp16,fp32"],
  softplus_parametric: [
    "ios13 x:T !alpha:T !beta:T | T=fp16,fp32",
    "ios17 x:T !alpha:U !beta:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  softsign: ["ios13 x:T | T=fp16,fp32"],
  space_to_batch: ["ios13 x:T !block_shape:int32 !paddings:int32 | T=fp16,fp32"],
  space_to_depth: ["ios13 x:T !block_size:int32 | T=fp16,fp32"],
  split: ["ios13 x:T !num_splits?:int32 !split_sizes?:int32 !axis:int32 | T=fp16,fp32,int32,bool"],
  sqrt: ["ios13 x:T | T=fp16,fp32"],
  square: ["ios13 x:T | T=fp16,fp32,int32"],
  squeeze: [
    "ios13 x:T !axes?:int32 | T=fp16,fp32,int32,bool",
    "ios17 x:T !axes?:int32 | T=fp16,fp32,int8,int16,int32,uint8,uint16,bool",
  ],
  stack: ["ios13 values:() !axis:int32"],
  sub: ["ios13 x:T y:T | T=fp16,fp32,int32"],
  tan: ["ios13 x:T | T=fp16,fp32"],
  tanh: ["ios13 x:T | T=fp16,fp32"],
  threshold: ["ios13 x:T !alpha:T | T=fp16,fp32,int32"],
  thresholded_relu: [
    "ios13 x:T !alpha:T | T=fp16,fp32",
    "ios17 x:T !alpha:U | T=fp16,fp32 | U=fp16,fp32",
  ],
  tile: ["ios13 x:T reps:int32 | T=fp16,fp32,int32,bool"],
  topk: [
    "ios13 x:T !k?:int32 !axis?:int32 !ascending?:bool | T=fp16,fp32,int32",
    "ios16 x:T !k?:int32 !axis?:int32 !ascending?:bool !sort?:bool !return_indices?:bool | T=fp16,fp32,int32",
    "ios17 x:T !k?:K !axis?:int32 !ascending?:bool !sort?:bool !return_indices?:bool !output_indices_dtype?:string | T=fp16,fp32,int8,int16,int32,uint8,uint16 | K=int8,int16,int32",
  ],
  transpose: [
    "ios13 x:T !perm:int32 | T=fp16,fp32,int32,bool",
    "ios17 x:T !perm:int32 | T=fp16,fp32,int8,int16,int32,uint8,uint16,bool",
  ],
  upsample_bilinear: [
    "ios13 x:T !scale_factor_height?:U !scale_factor_width?:U !align_corners?:bool | T=fp16,fp32 | U=int32,fp32",
    "ios16 x:T !scale_factor_height?:U !scale_factor_width?:U !align_corners?:bool !half_pixel_centers?:bool | T=fp16,fp32 | U=int32,fp32",
  ],
  upsample_nearest_neighbor: [
    "ios13 x:T !scale_factor_height?:U !scale_factor_width?:U | T=fp16,fp32 | U=fp32,int32",
  ],
  while_loop: ["ios13 loop_vars:()"],
} as const;
