use super::*;
use proptest::prelude::*;

fn value(i: usize, seed: u32) -> f32 {
    (((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)) >> 7) % 2001) as f32
        / 1000.0
        - 1.0
}

fn values(len: usize, seed: u32) -> Vec<f32> {
    (0..len).map(|i| value(i, seed)).collect()
}

/// The definition, one multiplication at a time.
fn naive(conv: &Conv, x: &[f32], weight: &[f32], bias: &[f32], activation: Activation) -> Vec<f32> {
    let ((height, width), (top, left)) = (conv.output(), conv.before());
    let mut out = Vec::new();
    for n in 0..conv.batch {
        for (oy, ox, f) in (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| (0..conv.filters()).map(move |f| (y, x, f))))
        {
            let mut sum = f64::from(bias[f]);
            for (ky, kx) in (0..conv.kernel).flat_map(|y| (0..conv.kernel).map(move |x| (y, x))) {
                let y = (oy * conv.stride + ky) as isize - top as isize;
                let x_at = (ox * conv.stride + kx) as isize - left as isize;
                if y < 0 || x_at < 0 || y >= conv.height as isize || x_at >= conv.width as isize {
                    continue;
                }
                let pixel = ((n * conv.height + y as usize) * conv.width + x_at as usize) * conv.channels;
                let tap = ky * conv.kernel + kx;
                match conv.kind {
                    Kind::Dense { filters } => {
                        for c in 0..conv.channels {
                            let w = weight[(tap * conv.channels + c) * filters + f];
                            sum += f64::from(x[pixel + c]) * f64::from(w);
                        }
                    }
                    Kind::Depthwise => {
                        sum += f64::from(x[pixel + f]) * f64::from(weight[tap * conv.channels + f]);
                    }
                }
            }
            out.push(activation.apply(sum as f32));
        }
    }
    out
}

fn any_conv() -> impl Strategy<Value = Conv> {
    (1usize..11, 1usize..9, 1usize..9, 1usize..40, 1usize..20, 0usize..3, 1usize..3, any::<(bool, bool)>())
        .prop_map(|(batch, height, width, channels, filters, half, stride, (depthwise, same))| Conv {
            batch,
            height,
            width,
            channels,
            kind: if depthwise { Kind::Depthwise } else { Kind::Dense { filters } },
            kernel: 2 * half + 1,
            stride,
            padding: if same { Padding::Same } else { Padding::Symmetric },
        })
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn forward_is_the_definition(conv in any_conv(), seed in 0u32..99) {
        let x = values(conv.batch * conv.input_len(), seed);
        let (weight, bias) = (values(conv.weight_len(), seed + 1), values(conv.filters(), seed + 2));
        for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
            let mut out = vec![f32::NAN; conv.batch * conv.output_len()];
            conv.forward(&x, &weight, &bias, activation, &mut out);
            for (got, want) in out.iter().zip(naive(&conv, &x, &weight, &bias, activation)) {
                prop_assert!((got - want).abs() < 2e-3, "{got} {want}");
            }
        }
    }

    /// The forward pass is linear in the input and in the weights, so `<g, conv(x, w)>` must equal both
    /// `<grad_x, x>` and `<grad_w, w>` without a bias, and `grad_b` must be the column sums of `g`.
    #[test]
    fn backward_is_the_adjoint(conv in any_conv(), seed in 0u32..99) {
        let x = values(conv.batch * conv.input_len(), seed);
        let weight = values(conv.weight_len(), seed + 1);
        let g = values(conv.batch * conv.output_len(), seed + 3);
        let mut out = vec![0.0; g.len()];
        conv.forward(&x, &weight, &vec![0.0; conv.filters()], Activation::None, &mut out);
        let grads = conv.backward(&x, &weight, &out, Activation::None, &g, true);
        let want = dot(&g, &out);
        let tolerance = 1e-3 * (1.0 + out.len() as f64);
        prop_assert!((dot(&grads.input, &x) - want).abs() < tolerance);
        prop_assert!((dot(&grads.weight, &weight) - want).abs() < tolerance);
        for f in 0..conv.filters() {
            let sum: f32 = g.iter().skip(f).step_by(conv.filters()).sum();
            prop_assert!((grads.bias[f] - sum).abs() < 1e-2);
        }
        prop_assert_eq!(conv.backward(&x, &weight, &out, Activation::None, &g, false).weight, grads.weight);
    }
}

#[test]
fn same_padding_puts_the_odd_zero_after() {
    let conv = Conv {
        batch: 1,
        height: 4,
        width: 4,
        channels: 1,
        kind: Kind::Dense { filters: 1 },
        kernel: 3,
        stride: 2,
        padding: Padding::Same,
    };
    assert_eq!((conv.output(), conv.before()), ((2, 2), (0, 0)));
    let symmetric = Conv { padding: Padding::Symmetric, ..conv };
    assert_eq!((symmetric.output(), symmetric.before()), ((2, 2), (1, 1)));
}

#[test]
fn a_closed_activation_stops_the_gradient() {
    let conv = Conv {
        batch: 1,
        height: 1,
        width: 3,
        channels: 1,
        kind: Kind::Depthwise,
        kernel: 1,
        stride: 1,
        padding: Padding::Same,
    };
    // 2 * x + 1 = -1, 3, 9: below zero, inside, above six.
    let (x, mut out) = ([-1.0, 1.0, 4.0], [0.0; 3]);
    conv.forward(&x, &[2.0], &[1.0], Activation::Relu6, &mut out);
    assert_eq!(out, [0.0, 3.0, 6.0]);
    let grads = conv.backward(&x, &[2.0], &out, Activation::Relu6, &[1.0, 1.0, 1.0], true);
    assert_eq!((grads.input, grads.weight, grads.bias), (vec![0.0, 2.0, 0.0], vec![1.0], vec![1.0]));
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let conv = Conv {
        batch: 21,
        height: 9,
        width: 7,
        channels: 12,
        kind: Kind::Dense { filters: 10 },
        kernel: 3,
        stride: 1,
        padding: Padding::Same,
    };
    let x = values(conv.batch * conv.input_len(), 1);
    let (weight, g) = (values(conv.weight_len(), 2), values(conv.batch * conv.output_len(), 3));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| conv.backward(&x, &weight, &g, Activation::Relu, &g, true))
    };
    assert_eq!(run(1), run(3));
}
