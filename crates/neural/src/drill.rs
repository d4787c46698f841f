//! Training steps on inputs made beforehand: what a step costs without reading and augmenting pictures.

use crate::train::{Phase, Run, Session, TrainError};
use crate::views::through_frozen;
use std::time::Instant;

/// Runs the steps of the recipe's `[schedule]`, frozen blocks included, always on the same inputs, and throws
/// the weights away; its head phase is left out.
/// Only [`Event::Step`](crate::Event::Step) is reported; nothing is validated or written.
///
/// # Shapes
/// - `inputs`: `[batch, size, size, 3]`, `batch` being the sampler's size and `size` the side of the
///   recipe's training views
///
/// # Errors
/// As [`train`](crate::train), when the dataset does not fit the recipe or the loss is not a number.
///
/// # Panics
/// When `inputs` has another length.
pub fn drill(session: &Session<'_>, inputs: &[f32]) -> Result<(), TrainError> {
    let recipe = session.recipe;
    let mut run = Run::new(session)?;
    let [_, phase] = Phase::all(recipe, run.network.blocks.len());
    let size = phase.preprocess.size as usize;
    let batch = recipe.sampler.init().size();
    assert_eq!(inputs.len(), batch * size * size * 3, "inputs of a batch of {batch} at {size} px");
    run.state.step = phase.steps.start;
    let folded = run.folded();
    for step in phase.steps.clone() {
        let start = Instant::now();
        let wanted = run.batch(step);
        let activations = through_frozen(&run.network, &folded, phase.frozen, size, inputs);
        let outcome = run.step(&phase, &wanted, activations)?;
        run.report(&outcome, batch, start);
    }
    Ok(())
}
