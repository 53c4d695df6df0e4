import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite } from './kernel.ts'

const GROUP = 64

/**
 * Conditional probabilities of t-SNE (van der Maaten & Hinton 2008): for each row of `squared`
 * [rows, k], ascending squared distances to its neighbours, `probabilities` [rows, k] ∝ exp(−β·d²) with
 * β such that the row's entropy is `entropy` (the logarithm of the perplexity, in nats).
 *
 * β is bisected from 1 as scikit-learn does, doubling or halving until both ends are known; at most
 * `tries` times, until the entropy is `tolerance` off at most. Distances count from the row's smallest,
 * which changes neither entropy nor probabilities and keeps the largest term at 1.
 */
export const tsneProbabilitiesKernel = defineKernel({
  label: 'tsneProbabilities',
  splits: [{ along: 'rows', per: { squared: ({ k }) => k, probabilities: ({ k }) => k } }],
  bindings: { squared: read('f32'), probabilities: readWrite('f32') },
  params: { rows: 'u32', k: 'u32', entropy: 'f32', tolerance: 'f32', tries: 'u32' },
  workgroups: ({ rows }) => linearWorkgroups(rows, GROUP),
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let row = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (row >= params.rows) { return; }
  let start = row * params.k;
  let nearest = squared[start];
  var beta = 1.0;
  var low = 0.0;
  var high = 0.0;
  var sum = 1.0;
  for (var t = 0u; t < params.tries; t++) {
    sum = 0.0;
    var weighted = 0.0;
    for (var j = 0u; j < params.k; j++) {
      let d = squared[start + j] - nearest;
      let p = exp(-beta * d);
      sum += p;
      weighted = fma(d, p, weighted);
    }
    let excess = log(sum) + beta * weighted / sum - params.entropy;
    // After the last try β stays the one that \`sum\` belongs to.
    if (abs(excess) <= params.tolerance || t + 1u == params.tries) { break; }
    if (excess > 0.0) {
      low = beta;
      beta = select(0.5 * (beta + high), 2.0 * beta, high == 0.0);
    } else {
      high = beta;
      beta = select(0.5 * (beta + low), 0.5 * beta, low == 0.0);
    }
  }
  for (var j = 0u; j < params.k; j++) {
    probabilities[start + j] = exp(-beta * (squared[start + j] - nearest)) / sum;
  }
}
`,
})
