//! The rules a number was measured under, as an id to compare and as words to read.

use data::Metric;

/// What was done. Two numbers may be compared only when their [`id`](Protocol::id)s are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// No class of the test was seen in training.
    pub zero_shot: bool,
    /// Queries and gallery are different sets of pictures.
    pub split: bool,
    /// Pictures of one family are left out of each other's gallery.
    pub families: bool,
    /// What ranks the answers.
    pub metric: Metric,
    /// Seed of the resampling and of the clustering.
    pub seed: u64,
    /// Resamples behind each interval.
    pub resamples: usize,
    /// Runs of k-means behind the mutual information; 0 when it was not measured.
    pub clusterings: usize,
}

impl Protocol {
    /// For example `zero-shot/cross-family/self-excluded/v1`; the metric is the model's, not the protocol's.
    #[must_use]
    pub fn id(&self) -> String {
        let mut parts = vec![if self.zero_shot { "zero-shot" } else { "seen-classes" }];
        if self.split {
            parts.push("query-gallery");
        }
        if self.families {
            parts.push("cross-family");
        }
        parts.extend(["self-excluded", "v1"]);
        parts.join("/")
    }

    /// The rules in plain words, a sentence each.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![
            if self.zero_shot {
                "No class of these pictures was seen in training."
            } else {
                "The classes of these pictures were also in the training set."
            }
            .to_owned(),
            if self.split {
                "Each query picture is compared with every picture of a separate gallery."
            } else {
                "Each picture in turn is the query and is compared with all the others."
            }
            .to_owned(),
            "A query is never its own answer; it is removed by its row number, not by its distance, so that \
             a duplicate still counts."
                .to_owned(),
        ];
        if self.families {
            words.push(
                "Pictures of the query's family (other versions of the same original) are left out of its \
                 gallery, so that finding a near-copy earns nothing."
                    .to_owned(),
            );
        }
        words.push(format!(
            "Answers are ranked exactly, by {}; equal distances go by row number and are counted as ties.",
            match self.metric {
                Metric::L2 => "squared Euclidean distance",
                Metric::Dot => "inner product (the cosine, for vectors of unit length)",
            }
        ));
        words.push(
            "Queries without any picture of their class in their gallery cannot succeed; they are dropped \
             and counted."
                .to_owned(),
        );
        words.push(format!(
            "Intervals cover 95 %: percentiles of {} resamples of whole classes (seed {}), since pictures of \
             one class are not independent.",
            self.resamples, self.seed
        ));
        if self.clusterings > 0 {
            words.push(format!(
                "Mutual information compares the classes with k-means clusters, as many as classes, and is \
                 divided by the mean of the two entropies; its adjusted form and the F1 of pairs are of the \
                 same clusters; mean, least and greatest of {} runs.",
                self.clusterings
            ));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_says_what_was_done() {
        let mut protocol = Protocol {
            zero_shot: true,
            split: false,
            families: true,
            metric: Metric::Dot,
            seed: 7,
            resamples: 2000,
            clusterings: 3,
        };
        assert_eq!(protocol.id(), "zero-shot/cross-family/self-excluded/v1");
        assert!(
            protocol.words().iter().any(|line| line.contains("2000 resamples of whole classes (seed 7)"))
        );
        protocol.split = true;
        protocol.families = false;
        protocol.zero_shot = false;
        assert_eq!(protocol.id(), "seen-classes/query-gallery/self-excluded/v1");
    }
}
