/**
 * Small faults of kernels, each one that a person could make, as a substitution in one file. The text
 * to find must be there exactly once, or the list is out of date and the run fails. Faults that change
 * no result on any adapter don't belong here.
 *
 * @typedef {object} Fault
 * @property {string} name
 * @property {string} file within src
 * @property {string} find
 * @property {string} replace
 * @property {readonly string[]} tests within test; the smallest that must fail
 * @property {'lavapipe' | 'swiftshader'} project where these tests run; lavapipe unless only the other shows it
 */

/**
 * @param {string} file
 * @param {readonly string[]} tests
 * @param {readonly (readonly [name: string, find: string, replace: string, project?: Fault['project']])[]} list
 * @returns {Fault[]}
 */
const inFile = (file, tests, list) =>
  list.map(([name, find, replace, project = 'lavapipe']) => {
    return { name, file, find, replace, tests, project }
  })

/** @type {readonly Fault[]} */
export const faults = [
  ...inFile(
    'kernels/kernel.ts',
    ['kernels/kernel.test.ts', 'kernels/elementwise.test.ts', 'kernels/extremum.test.ts'],
    [
      ['second row of workgroups lost', 'id.x + id.y * count.x', 'id.x'],
      [
        'last workgroup lost',
        'Math.max(1, Math.ceil(count / size))',
        'Math.max(1, Math.floor(count / size))',
      ],
    ],
  ),
  ...inFile(
    'kernels/elementwise.ts',
    ['kernels/elementwise.test.ts'],
    [
      ['one component of the tail lost', 'c < params.size % 4u', 'c + 1u < params.size % 4u'],
      ['tail stored to the wrong component', '${output}[v].z = y', '${output}[v].w = y'],
      [
        'whole vec4 stored past the end',
        'let full = params.size / 4u;',
        'let full = (params.size + 3u) / 4u;',
      ],
    ],
  ),
  ...inFile(
    'kernels/binary.ts',
    ['runtime/ops/binary.test.ts'],
    [
      [
        'gradient of equals not halved',
        'a ${sign} b), 0.5 * g, a == b)`,\n  b:',
        'a ${sign} b), g, a == b)`,\n  b:',
      ],
      ['gradient of a divisor', "'-g * (a / b) / b'", "'-g * (a / b)'"],
    ],
  ),
  ...inFile(
    'runtime/ops/binary.ts',
    ['runtime/ops/binary.test.ts'],
    [
      [
        'sign of a gradient',
        "of === 'b' && name === 'subtract' ? -1 : 1",
        "of === 'a' && name === 'subtract' ? -1 : 1",
      ],
    ],
  ),
  ...inFile(
    'kernels/unary.ts',
    ['kernels/unary.test.ts'],
    [
      ['factor of a derivative', "derivative: '0.5 / y'", "derivative: '1.0 / y'"],
      ['derivative of the wrong saved value', "'(1.0 - y) * (1.0 + y)'", "'1.0 - y'"],
    ],
  ),
  ...inFile(
    'kernels/activations.ts',
    ['kernels/elementwise.test.ts', 'kernels/unary.test.ts'],
    [
      ['digit of a constant', '0.5641895835477563', '0.5651895835477563'],
      ['ReLU hides NaN', 'return select(x, 0.0, x < 0.0); }', 'return max(x, 0.0); }'],
    ],
  ),
  ...inFile(
    'kernels/reduce.ts',
    ['kernels/reduce.test.ts'],
    [
      [
        'last partial sum left out',
        'i < 8u; i++) { sum += partial',
        'i < 7u; i++) { sum += partial',
      ],
      [
        'bound of a chunk missing',
        'min(start + ${SUM_CHUNK / 4}u, full)',
        'start + ${SUM_CHUNK / 4}u',
      ],
      ['scale forgotten', 'out[column] = sum * params.scale', 'out[column] = sum'],
      [
        'barrier of a reduction lost',
        '    workgroupBarrier();\n    if (thread < half) { partial[thread] +=',
        '    if (thread < half) { partial[thread] +=',
      ],
      ['half of a tree left out', 'half > 0u; half /= 2u', 'half > 1u; half /= 2u'],
    ],
  ),
  ...inFile(
    'kernels/rows.ts',
    ['kernels/softmax.test.ts', 'kernels/layerNorm.test.ts'],
    [
      ['bound of rows missing', 'if (row >= params.rows) { return; }', ''],
      [
        'stride of a row in the wrong unit',
        'let start = row * width;',
        'let start = row * params.columns;',
      ],
      [
        'half of a maximum left out',
        'partial[lane] = max(partial[lane], partial[lane + half]);',
        'partial[lane] = partial[lane + half];',
      ],
      [
        'barrier of a row lost',
        '    workgroupBarrier();\n    if (lane < half) { partial[lane] +=',
        '    if (lane < half) { partial[lane] +=',
      ],
      [
        'barrier after reading a total lost',
        '  let total = partial[0];\n  workgroupBarrier();',
        '  let total = partial[0];',
      ],
    ],
  ),
  ...inFile(
    'kernels/softmax.ts',
    ['kernels/softmax.test.ts'],
    [
      ['maximum of one element left out', 'max(max(p, q), max(r, s))', 'max(max(p, q), r)'],
      [
        'old sum not taken to the new maximum',
        'total = total * exp(top - largest) + added(exp(p - largest));',
        'total = total + added(exp(p - largest));',
      ],
      [
        'factor of a row forgotten',
        'select(1.0 / total, 0.0, masked);\n  ${eachInRow',
        '1.0;\n  ${eachInRow',
      ],
    ],
  ),
  ...inFile(
    'kernels/layerNorm.ts',
    ['kernels/layerNorm.test.ts'],
    [
      [
        'eps outside the root',
        'sqrt(squares / size + params.eps)',
        '(sqrt(squares / size) + params.eps)',
      ],
      ['eps left out', '1.0 / sqrt(squares / size + params.eps)', '1.0 / sqrt(squares / size)'],
      ['wrong divisor of the variance', 'sqrt(squares / size +', 'sqrt(squares / (size - 1.0) +'],
      ['term of the gradient left out', '(g - meanG - (x[i]', '(g - (x[i]'],
      [
        'update of Chan et al. without its step',
        '+ (dr * dr + ds * ds)) + step * step * seen * share',
        '+ (dr * dr + ds * ds))',
      ],
    ],
  ),
  ...inFile(
    'kernels/l2Normalize.ts',
    ['kernels/l2Normalize.test.ts'],
    [
      [
        'floor of the length left out',
        "let divisor = max(norm, params.eps);\n  ${eachInRow(options, 'out",
        "let divisor = norm;\n  ${eachInRow(options, 'out",
      ],
      ['gradient not divided', 'out[i] * dot) / divisor', 'out[i] * dot)'],
    ],
  ),
  ...inFile(
    'kernels/batchNorm.ts',
    ['kernels/batchNorm.test.ts'],
    [
      ['biased running variance', 'variance * n / max(n - 1.0, 1.0)', 'variance'],
      // Eight lanes would repeat the last column in step with its owner; of four, others move its
      // running statistics a second time.
      [
        'column past the end stored',
        'let inside = column < params.columns;',
        'let inside = true;',
        'swiftshader',
      ],
      [
        'mean and variance exchanged',
        'let invStd = statistics[(batch * 2u + 1u) * params.columns + c];',
        'let invStd = statistics[batch * 2u * params.columns + c];',
      ],
      ['gradient of the mean left out', '(dB + normalized * dW) / n', '(normalized * dW) / n'],
    ],
  ),
  ...inFile(
    'kernels/gatherRows.ts',
    ['kernels/gatherRows.test.ts'],
    [['index past the end not held back', 'min(index[m], params.rows - 1u)', 'index[m]']],
  ),
  ...inFile(
    'kernels/scatterAdd.ts',
    ['runtime/ops/scatterAdd.test.ts'],
    [
      [
        'added in descending order',
        'for (var m = 0u; m < params.count; m++) {\n    if (rowOf(m) == row) { sum += source[m * params.columns + column]; }',
        'for (var m = params.count; m > 0u; m--) {\n    if (rowOf(m - 1u) == row) { sum += source[(m - 1u) * params.columns + column]; }',
      ],
      [
        'base left out',
        'base ? `base[${at}]` : vector',
        "base ? (vector ? 'vec4f()' : '0.0') : vector",
      ],
    ],
  ),
  ...inFile(
    'kernels/embedTokens.ts',
    ['kernels/embedTokens.test.ts'],
    [
      [
        'patch of the image before',
        'start - (b + 1u) * params.prefixes * width + c',
        'start - b * params.prefixes * width + c',
      ],
    ],
  ),
  ...inFile(
    'kernels/patchify.ts',
    ['kernels/patchify.test.ts'],
    [
      [
        'height for width',
        'let across = params.width / size;',
        'let across = params.height / size;',
      ],
    ],
  ),
  ...inFile(
    'kernels/matmulTile.ts',
    ['kernels/matmul.test.ts'],
    [
      // One too far in `guardedA` would be no fault: what row m holds goes into sums of row m alone,
      // which no store lets out.
      [
        'bound of stored rows one too far',
        'let c = columnBase + x * 4u + i % 4u;\n    if (r < params.m && c < params.n)',
        'let c = columnBase + x * 4u + i % 4u;\n    if (r <= params.m && c < params.n)',
      ],
      ['bound of k missing', 'if (k >= slab.end || column >= params.n)', 'if (column >= params.n)'],
      ['index of a staged vec4', 'tileB[kk * ${stride.b}u + x]', 'tileB[kk * ${stride.b}u + y]'],
      [
        'barrier before multiplying lost',
        'options.transposeB, quadsB)}\n    workgroupBarrier();',
        'options.transposeB, quadsB)}',
      ],
      [
        'barrier before staging again lost',
        '    }\n    workgroupBarrier();\n  }\n${shares > 1 && rowSums',
        '    }\n  }\n${shares > 1 && rowSums',
      ],
      [
        'stored column past the end',
        'let c = columnBase + x * 4u + i % 4u;\n    if (r < params.m && c < params.n)',
        'let c = columnBase + x * 4u + i % 4u;\n    if (r < params.m)',
      ],
    ],
  ),
  ...inFile(
    'kernels/matmulSubgroup.ts',
    ['kernels/matmul.test.ts'],
    [
      ['lane of a broadcast', '${r % lanes}u)`', '${(r + 1) % lanes}u)`'],
      ['last step of k left out', 'k < slab.end; k++', 'k + 1u < slab.end; k++'],
    ],
  ),
  ...inFile(
    'kernels/matmulSoftware.ts',
    ['kernels/matmul.test.ts'],
    [
      [
        'lane of a broadcast (8 lanes)',
        'subgroupBroadcast(${register}, ${lane}u)',
        'subgroupBroadcast(${register}, ${(lane + 1) % LANES}u)',
      ],
      [
        'bound of k missing (8 lanes)',
        'return even ? quad : `select(vec4f(), ${quad}, k + ${kk}u < slab.end)`',
        'return quad',
      ],
    ],
  ),
  ...inFile(
    'kernels/matmulAccess.ts',
    ['kernels/matmul.test.ts', 'runtime/ops/linear.test.ts'],
    [
      ['stride of a transposed operand', "'column * params.k + k'", "'column * params.n + k'"],
      [
        'residual before the activation',
        '  const value = `activate(${scaled})',
        "  const value = `activate(${scaled}${residual ? ' + f32(residual[index])' : ''})",
      ],
    ],
  ),
  ...inFile(
    'kernels/attention.ts',
    ['kernels/attention.test.ts'],
    [
      [
        'causal mask off by one (tile)',
        'min(query + ${r + 1}u, params.tokens)',
        'min(query + ${r}u, params.tokens)',
      ],
      ['old sums not rescaled (tile)', '`sum${r}_${c} *= keep[${r}];`', "''"],
      [
        'causal mask off by one (subgroup)',
        'key${s} <= min(first + ${r}u, last)',
        'key${s} < min(first + ${r}u, last)',
        'swiftshader',
      ],
    ],
  ),
  ...inFile(
    'kernels/attentionSoftware.ts',
    ['kernels/attention.test.ts'],
    [
      [
        'causal mask off by one (8 lanes)',
        'causal ? `min(first + ${r}u, last)`',
        'causal ? `min(first + ${r + 1}u, last)`',
      ],
    ],
  ),
  ...inFile(
    'kernels/attentionBackward.ts',
    ['kernels/attention.test.ts'],
    [
      [
        'scale of a gradient left out',
        "statistic('rowDelta', r)}) * params.scale;",
        "statistic('rowDelta', r)});",
      ],
      ['delta left out', "(g${r} - ${statistic('rowDelta', r)})", 'g${r}'],
    ],
  ),
  ...inFile(
    'kernels/scpLoss.ts',
    ['kernels/scpLoss.test.ts'],
    [
      ['mean over both views', 'let mean = sum / f32(B);', 'let mean = sum / f32(2u * B);'],
      [
        'half of the cross-entropy',
        'crossEntropy += params.forward * cePQ',
        'crossEntropy += cePQ',
      ],
      ['ratio of the confidence', 'exp(lp + lq - logOverlap)', 'exp(lp + lq)'],
    ],
  ),
  ...inFile(
    'kernels/adam.ts',
    ['kernels/adam.test.ts'],
    [
      [
        'eps within the correction',
        '(sqrt(v) * schedule[row + 1u] + params.eps)',
        '((sqrt(v) + params.eps) * schedule[row + 1u])',
      ],
      ["decay scaled by Adam's rate", 'schedule[row + 2u] * groups', 'schedule[row] * groups'],
    ],
  ),
  ...inFile(
    'kernels/topK.ts',
    ['kernels/topK.test.ts'],
    [['ties to the highest column', 'a == b && i < j', 'a == b && i > j']],
  ),
  ...inFile(
    'kernels/extremum.ts',
    ['kernels/extremum.test.ts'],
    [['last of equals', 'candidate > bestKey', 'candidate >= bestKey']],
  ),
  ...inFile(
    'kernels/quantize.ts',
    ['kernels/quantize.test.ts'],
    [['bytes of a word in the wrong order', '<< (lane * 8u)', '<< (24u - lane * 8u)']],
  ),
  ...inFile(
    'kernels/nearestCentre.ts',
    ['kernels/distance.test.ts'],
    [['ties to the highest number', 'if (d < best${s}.distance)', 'if (d <= best${s}.distance)']],
  ),
]
