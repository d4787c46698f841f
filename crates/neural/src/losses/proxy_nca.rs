//! Proxy-NCA++: each picture against a proxy of every class.
//!
//! Cross entropy of `-|z - p_j|^2 / temperature` over all proxies, embeddings and proxies of unit length. The
//! first Proxy-NCA left the own proxy out of the denominator.
//! Source: Teh, DeVries and Taylor, "ProxyNCA++", ECCV 2020, equation 6; Movshovitz-Attias et al., "No Fuss
//! Distance Metric Learning using Proxies", ICCV 2017, equation 7.

use super::{Batch, Loss, LossShape, LossValue, Reduction, Sees, class_weights};
use crate::settings::settings;
use crate::weights::Weights;
use rand_chacha::ChaCha8Rng;

settings! {
    /// Settings of Proxy-NCA++.
    pub struct ProxyNcaConfig {
        /// Squared distances are divided by it.
        pub temperature: f32 = 1.0 / 9.0,
        /// Divisor of the sum over pictures.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl Loss for ProxyNcaConfig {
    fn sees(&self) -> Sees {
        Sees::Classes
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn above_zero(&self) -> Vec<(&'static str, f32)> {
        vec![("loss.temperature", self.temperature)]
    }

    fn parameters(&self, shape: LossShape, rng: &mut ChaCha8Rng) -> Weights {
        class_weights::first("proxies", shape.classes, shape, rng)
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        // -|z - p|^2 is 2 cos less a constant, which cross entropy does not see.
        let cosines = class_weights::cosines(batch, "proxies");
        let scale = class_weights::scale(batch, 2.0 / self.temperature);
        LossValue::of(class_weights::with_own(batch, cosines, scale, |own| own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, close, holds, run};
    use crate::losses::class_weights::tests::{cosines, mean_cross_entropy};

    #[test]
    fn by_hand() {
        // Squared distances .4 and .5: ln(1 + e^(9 (.4 - .5))) = .341154.
        let at = |square: f64| {
            let cosine = 1.0 - square / 2.0;
            [cosine, (1.0 - cosine * cosine).sqrt()]
        };
        let given = Given::new(&[&[1.0, 0.0]], &[0]).with("proxies", &[2, 2], &[at(0.4), at(0.5)].concat());
        close(&[run(&ProxyNcaConfig::default(), &given).value], &[0.341_154]);
    }

    #[test]
    fn agrees_with_the_definition() {
        holds(&ProxyNcaConfig::default(), |given| {
            mean_cross_entropy(given, |i| {
                cosines(given, i, "proxies").iter().map(|cosine| -9.0 * (2.0 - 2.0 * cosine)).collect()
            })
        });
    }
}
