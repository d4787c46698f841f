//! The words of graphs: `HNSW16_efc400`, `NSW16`, `KNNG32`, `EFANNA32_T4`, `NSG32`, `Vamana32_a1.2`, and what nodes hold.

use crate::spec::{HnswSpec, ParseSpecError, count};
use quant::codes::Code;
use std::fmt;

/// A graph, what its nodes hold and what ranks the best of them again.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphSpec {
    /// How nodes are linked.
    pub shape: GraphShape,
    /// How rows are compressed; none where nodes hold them as they are.
    pub(super) code: Option<quant::Spec>,
    /// A finer code by which the best are ranked again.
    pub(super) refine: Option<Code>,
}

/// How nodes are linked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GraphShape {
    /// In layers.
    Hnsw(HnswSpec),
    /// In one layer.
    Flat(FlatGraphSpec),
}

/// A graph of one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlatGraphSpec {
    builder: GraphBuilder,
    degree: u32,
    construction: u32,
}

/// How a graph of one layer is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GraphBuilder {
    /// By insertion; the degree is the number of links a new node makes, a list holds twice as many.
    Nsw,
    /// The nearest rows of each, by descent.
    Knng,
    /// The same, begun from trees, which then lead searches.
    Efanna {
        /// Trees, `1..=32`.
        trees: u32,
    },
    /// Links in different directions from walks towards each row.
    Nsg,
    /// Links in different directions, and longer ones too.
    Vamana {
        /// How much shorter a path has to be to hide a link, in squared distances; `1..=4`.
        alpha: f32,
    },
}

impl FlatGraphSpec {
    /// Trees where the line names no number.
    pub const TREES: u32 = 4;
    /// Most trees.
    pub const MAX_TREES: u32 = 32;
    /// The factor where the line names none.
    pub const ALPHA: f32 = 1.2;
    /// Greatest factor.
    pub const MAX_ALPHA: f32 = 4.0;

    /// A graph whose nodes have `degree` links; those who build it by searches look at `construction` candidates.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn new(
        builder: GraphBuilder,
        degree: u32,
        construction: Option<u32>,
    ) -> Result<Self, ParseSpecError> {
        let own = Self::default_construction(builder, degree);
        let spec = Self { builder, degree, construction: construction.unwrap_or(own) };
        let wrong = |why: String| Err(ParseSpecError::Composition { line: spec.to_string(), why });
        if !(2..=HnswSpec::MAX_LINKS).contains(&degree) {
            return wrong(format!("a node needs 2 to {} links; 32 suits most data", HnswSpec::MAX_LINKS));
        }
        match builder {
            GraphBuilder::Knng | GraphBuilder::Efanna { .. } if construction.is_some() => {
                return wrong("no search makes this graph; leave _efc out".into());
            }
            GraphBuilder::Efanna { trees } if !(1..=Self::MAX_TREES).contains(&trees) => {
                return wrong(format!("there may be 1 to {} trees; 4 suit most data", Self::MAX_TREES));
            }
            GraphBuilder::Vamana { alpha } if !(1.0..=Self::MAX_ALPHA).contains(&alpha) => {
                return wrong(format!("the factor is 1 to {}; 1.2 suits most data", Self::MAX_ALPHA));
            }
            _ => {}
        }
        if !(degree..=HnswSpec::MAX_CONSTRUCTION).contains(&spec.construction) {
            return wrong(format!(
                "the construction beam must hold at least the {degree} links and at most {} rows",
                HnswSpec::MAX_CONSTRUCTION
            ));
        }
        Ok(spec)
    }

    /// The beam where a line names none. Part of the grammar: it never changes.
    fn default_construction(builder: GraphBuilder, degree: u32) -> u32 {
        match builder {
            GraphBuilder::Nsw => HnswSpec::CONSTRUCTION.max(degree),
            GraphBuilder::Vamana { .. } => 100.max(degree),
            // As in faiss, whose lists these are.
            GraphBuilder::Nsg | GraphBuilder::Knng | GraphBuilder::Efanna { .. } => degree + 32,
        }
    }

    /// How the graph is made.
    #[must_use]
    pub fn builder(self) -> GraphBuilder {
        self.builder
    }

    /// Links of a node, or those a new node makes.
    #[must_use]
    pub fn degree(self) -> usize {
        self.degree as usize
    }

    /// Width of the walks that find a node's neighbours.
    #[must_use]
    pub fn construction(self) -> usize {
        self.construction as usize
    }

    /// Reads the word of a graph; none for a word of another kind.
    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let kinds = ["NSW", "KNNG", "EFANNA", "NSG", "Vamana"];
        let (name, settings) = kinds.iter().find_map(|name| Some((*name, word.strip_prefix(name)?)))?;
        Some(Self::with_settings(name, settings, word))
    }

    fn with_settings(name: &str, settings: &str, word: &str) -> Result<Self, ParseSpecError> {
        let mut settings = settings.split('_');
        let degree = count("the links of a node", settings.next().unwrap_or_default())?;
        let (mut construction, mut trees, mut alpha) = (None, Self::TREES, Self::ALPHA);
        for setting in settings {
            if let Some(beam) = setting.strip_prefix("efc") {
                construction = Some(count("the construction beam", beam)?);
            } else if let Some(number) = setting.strip_prefix('T').filter(|_| name == "EFANNA") {
                trees = count("the trees", number)?;
            } else if let Some(factor) = setting.strip_prefix('a').filter(|_| name == "Vamana") {
                alpha = decimal(factor).ok_or_else(|| ParseSpecError::Composition {
                    line: word.into(),
                    why: format!("\"{factor}\" is no factor; write one as in Vamana32_a1.2"),
                })?;
            } else {
                let why = format!(
                    "there is no setting _{setting}; write as in NSG32_efc64, EFANNA32_T4 or Vamana32_a1.2"
                );
                return Err(ParseSpecError::Composition { line: word.into(), why });
            }
        }
        let builder = match name {
            "NSW" => GraphBuilder::Nsw,
            "KNNG" => GraphBuilder::Knng,
            "EFANNA" => GraphBuilder::Efanna { trees },
            "NSG" => GraphBuilder::Nsg,
            _ => GraphBuilder::Vamana { alpha },
        };
        Self::new(builder, degree, construction)
    }
}

/// A number of digits and at most one point.
fn decimal(text: &str) -> Option<f32> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| text.parse().ok()).flatten()
}

impl GraphSpec {
    /// A graph over rows as they are.
    #[must_use]
    pub fn plain(shape: GraphShape) -> Self {
        Self { shape, code: None, refine: None }
    }

    /// A graph whose nodes hold codes, the best of which a finer code ranks again. Rows as they are need no word, and
    /// nothing ranks them better.
    #[must_use]
    pub fn new(shape: GraphShape, code: Option<quant::Spec>, refine: Option<Code>) -> Self {
        let code = code.filter(|code| !(code.changes.is_empty() && matches!(code.code, Code::Full(_))));
        let refine = refine.filter(|refine| code.is_some() || !matches!(refine, Code::Full(_)));
        Self { shape, code, refine }
    }

    /// How rows are compressed; none where nodes hold them as they are.
    #[must_use]
    pub fn code(&self) -> Option<&quant::Spec> {
        self.code.as_ref()
    }

    /// The finer code by which the best are ranked again.
    #[must_use]
    pub fn refine(&self) -> Option<&Code> {
        self.refine.as_ref()
    }

    /// Reads a line that begins with a graph; none for a line of another kind.
    pub(crate) fn parse(line: &str) -> Option<Result<Self, ParseSpecError>> {
        let (word, rest) = line.split_once(',').map_or((line, None), |(word, rest)| (word, Some(rest)));
        let shape = match HnswSpec::parse(word) {
            Some(spec) => spec.map(GraphShape::Hnsw),
            None => FlatGraphSpec::parse(word)?.map(GraphShape::Flat),
        };
        Some(shape.and_then(|shape| Self::holding(shape, rest)))
    }

    /// The graph whose nodes hold what `words` say.
    fn holding(shape: GraphShape, words: Option<&str>) -> Result<Self, ParseSpecError> {
        let Some(words) = words else { return Ok(Self::plain(shape)) };
        let (before, last) = words.rsplit_once(',').map_or(("", words), |(before, last)| (before, last));
        let refine = match last {
            "RFlat" => Some("Flat"),
            last => last.strip_prefix("Refine(").and_then(|word| word.strip_suffix(')')),
        };
        let code = if refine.is_some() { before } else { words };
        let refine = refine.map(Code::parse).transpose()?;
        if code.is_empty() {
            let line = format!("{},{words}", Self::plain(shape));
            let why =
                "name the code that nodes hold before what ranks them again, as in HNSW32,SQ8,Refine(Flat)";
            return Err(ParseSpecError::Composition { line, why: why.into() });
        }
        Ok(Self::new(shape, Some(code.parse()?), refine))
    }
}

impl fmt::Display for FlatGraphSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.builder {
            GraphBuilder::Nsw => write!(f, "NSW{}", self.degree)?,
            GraphBuilder::Knng => write!(f, "KNNG{}", self.degree)?,
            GraphBuilder::Efanna { trees } => write!(f, "EFANNA{}_T{trees}", self.degree)?,
            GraphBuilder::Nsg => write!(f, "NSG{}", self.degree)?,
            GraphBuilder::Vamana { alpha } => write!(f, "Vamana{}_a{alpha}", self.degree)?,
        }
        if self.construction == Self::default_construction(self.builder, self.degree) {
            return Ok(());
        }
        write!(f, "_efc{}", self.construction)
    }
}

impl fmt::Display for GraphSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape {
            GraphShape::Hnsw(spec) => spec.fmt(f)?,
            GraphShape::Flat(spec) => spec.fmt(f)?,
        }
        match (&self.code, &self.refine) {
            (Some(code), _) => write!(f, ",{code}")?,
            // Without a code there is no comma to tell what is refined.
            (None, Some(_)) => f.write_str(",Flat")?,
            (None, None) => {}
        }
        self.refine.as_ref().map_or(Ok(()), |code| write!(f, ",Refine({code})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape() -> impl Strategy<Value = GraphShape> {
        let builder = prop_oneof![
            Just(GraphBuilder::Nsw),
            Just(GraphBuilder::Knng),
            (1..=FlatGraphSpec::MAX_TREES).prop_map(|trees| GraphBuilder::Efanna { trees }),
            Just(GraphBuilder::Nsg),
            (1f32..=FlatGraphSpec::MAX_ALPHA).prop_map(|alpha| GraphBuilder::Vamana { alpha }),
        ];
        let flat =
            (builder, 2..=HnswSpec::MAX_LINKS, prop::option::of(0u32..1000)).prop_map(|(b, degree, more)| {
                let searched = !matches!(b, GraphBuilder::Knng | GraphBuilder::Efanna { .. });
                let beam = more.filter(|_| searched).map(|more| degree + more);
                GraphShape::Flat(FlatGraphSpec::new(b, degree, beam).unwrap())
            });
        prop_oneof![flat, Just(GraphShape::Hnsw(HnswSpec::new(16, 100).unwrap()))]
    }

    proptest! {
        #[test]
        fn graphs_survive_printing(shape in shape(), code in 0usize..4, refine in 0usize..3) {
            let code = [None, Some("SQ8"), Some("Centre,LVQ4x8"), Some("OPQ8,PQ8")][code].map(|c| c.parse().unwrap());
            let refine = [None, Some("Flat"), Some("F16")][refine].map(|c| Code::parse(c).unwrap());
            let spec = GraphSpec::new(shape, code, refine);
            prop_assert_eq!(GraphSpec::parse(&spec.to_string()), Some(Ok(spec)));
        }

        #[test]
        fn no_line_panics(line in "(NSW|NSG|KNNG|EFANNA|Vamana|HNSW)[0-9]{0,3}[0-9A-Za-z_.,]{0,9}(,Flat|,SQ8|,Refine)?") {
            if let Some(Ok(spec)) = GraphSpec::parse(&line) {
                prop_assert_eq!(GraphSpec::parse(&spec.to_string()), Some(Ok(spec)));
            }
        }
    }

    #[test]
    fn spellings_of_others_are_read() {
        let read = |line: &str| GraphSpec::parse(line).unwrap().unwrap().to_string();
        assert_eq!(read("NSG32,Flat"), "NSG32");
        assert_eq!(read("HNSW32,SQ8,RFlat"), "HNSW32,SQ8,Refine(Flat)");
        assert_eq!(read("HNSW32,Flat,RFlat"), "HNSW32");
        assert_eq!(read("EFANNA30"), "EFANNA30_T4");
        assert_eq!(read("Vamana64_efc100,LVQ4x8"), "Vamana64_a1.2,LVQ4x8");
    }

    #[test]
    fn impossible_graphs_say_why() {
        let why = |line: &str| GraphSpec::parse(line).unwrap().unwrap_err().to_string();
        assert_eq!(why("NSG1"), "NSG1: a node needs 2 to 512 links; 32 suits most data");
        assert!(why("NSG").starts_with("\"\" is no count for the links of a node"));
        assert!(why("KNNG32_efc64").contains("leave _efc out"));
        assert!(why("NSG32_T4").contains("no setting _T4"));
        assert!(why("EFANNA32_T0").contains("1 to 32 trees"));
        assert!(why("Vamana32_a0.5").contains("1 to 4"));
        assert!(why("Vamana32_ax").contains("no factor"));
        assert!(why("Vamana32_efc8").contains("at least the 32 links"));
        assert!(why("HNSW32,Refine(Flat)").contains("before what ranks them again"));
        assert!(why("HNSW32,Nothing").contains("names no code"));
        assert!(GraphSpec::parse("IVF64,Flat").is_none() && GraphSpec::parse("Flat").is_none());
    }
}
