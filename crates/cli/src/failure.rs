//! Why a command ended, and the exit code that says so.

use std::process::ExitCode;

/// Exit codes; the README lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Something went wrong.
    Failed = 1,
    /// The command line or the recipe makes no sense.
    Usage = 2,
    /// A goal is out of reach.
    Unreachable = 3,
    /// A picture, model or index is damaged.
    Corrupt = 4,
    /// Train and test share a class or a picture.
    Leak = 5,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// A message and its code.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub error: anyhow::Error,
}

impl Failure {
    pub fn new(code: Code, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }

    pub fn message(code: Code, text: impl Into<String>) -> Self {
        Self { code, error: anyhow::Error::msg(text.into()) }
    }

    pub fn interrupted() -> Self {
        Self::message(Code::Interrupted, "stopped")
    }

    /// The whole chain of causes in one line.
    pub fn line(&self) -> String {
        let mut line = String::new();
        for cause in self.error.chain().map(ToString::to_string) {
            // Causes that a message already quotes are not said twice.
            if !line.contains(&cause) {
                line += if line.is_empty() { "" } else { ": " };
                line += &cause;
            }
        }
        line.replace('\n', " ")
    }
}

pub type Outcome<T = ()> = Result<T, Failure>;

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: Code::Failed, error }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Code::Failed, error)
    }
}

impl From<data::EmbedError> for Failure {
    fn from(error: data::EmbedError) -> Self {
        Self::new(Code::Failed, error)
    }
}

impl From<data::DatasetError> for Failure {
    fn from(error: data::DatasetError) -> Self {
        use data::DatasetError::{Changed, Decode, TooLarge};
        let corrupt = matches!(error, Decode { .. } | Changed { .. } | TooLarge { .. });
        Self::new(if corrupt { Code::Corrupt } else { Code::Failed }, error)
    }
}

impl From<data::vectors::VectorFileError> for Failure {
    fn from(error: data::vectors::VectorFileError) -> Self {
        use data::vectors::VectorFileError::{
            Damaged, Format, Io, Part, Rows, Truncated, Unsupported, Value,
        };
        let code = match error {
            Damaged { .. } | Truncated { .. } | Value { .. } => Code::Corrupt,
            Format { .. } | Part { .. } | Rows { .. } => Code::Usage,
            Io { .. } | Unsupported { .. } => Code::Failed,
        };
        Self::new(code, error)
    }
}

impl From<data::vectors::VectorWriteError> for Failure {
    fn from(error: data::vectors::VectorWriteError) -> Self {
        use data::vectors::VectorWriteError::{Dim, Element, Format, Io, Ragged, TooMany};
        let code = match error {
            Format { .. } | Element { .. } => Code::Usage,
            Io { .. } | Dim { .. } | Ragged { .. } | TooMany { .. } => Code::Failed,
        };
        Self::new(code, error)
    }
}

impl From<data::vectors::ConvertError> for Failure {
    fn from(error: data::vectors::ConvertError) -> Self {
        match error {
            data::vectors::ConvertError::Read(error) => error.into(),
            data::vectors::ConvertError::Write(error) => error.into(),
            data::vectors::ConvertError::Stopped => Self::interrupted(),
            error @ data::vectors::ConvertError::Misfit { .. } => Self::new(Code::Failed, error),
        }
    }
}

impl From<quant::TrainError> for Failure {
    fn from(error: quant::TrainError) -> Self {
        match error {
            quant::TrainError::Stopped => Self::interrupted(),
            error => Self::new(Code::Failed, error),
        }
    }
}

impl From<quant::EncodeError> for Failure {
    fn from(error: quant::EncodeError) -> Self {
        Self::new(Code::Failed, error)
    }
}

impl From<quant::SaveError> for Failure {
    fn from(error: quant::SaveError) -> Self {
        Self::new(Code::Failed, error)
    }
}

impl From<quant::LoadError> for Failure {
    fn from(error: quant::LoadError) -> Self {
        let code = if matches!(error, quant::LoadError::Read { .. }) { Code::Failed } else { Code::Corrupt };
        Self::new(code, error)
    }
}

impl From<eval::EvalError> for Failure {
    fn from(error: eval::EvalError) -> Self {
        Self::new(Code::Failed, error)
    }
}

impl From<neural::ModelError> for Failure {
    fn from(error: neural::ModelError) -> Self {
        let code =
            if matches!(error, neural::ModelError::Invalid { .. }) { Code::Corrupt } else { Code::Failed };
        Self::new(code, error)
    }
}

impl From<neural::RecipeError> for Failure {
    fn from(error: neural::RecipeError) -> Self {
        Self::new(Code::Usage, error)
    }
}

impl From<neural::TrainError> for Failure {
    fn from(error: neural::TrainError) -> Self {
        match error {
            neural::TrainError::Interrupted { .. } => Self::new(Code::Interrupted, error),
            neural::TrainError::Data(error) => error.into(),
            neural::TrainError::Sampler(_) => Self::new(Code::Usage, error),
            error => Self::new(Code::Failed, error),
        }
    }
}

impl From<index::OpenError> for Failure {
    fn from(error: index::OpenError) -> Self {
        let code = if matches!(error, index::OpenError::Io { .. }) { Code::Failed } else { Code::Corrupt };
        Self::new(code, error)
    }
}

impl From<index::ModelMismatch> for Failure {
    fn from(error: index::ModelMismatch) -> Self {
        Self::new(Code::Failed, error)
    }
}

impl From<index::SaveError> for Failure {
    fn from(error: index::SaveError) -> Self {
        match error {
            index::SaveError::Cancelled => Self::interrupted(),
            error => Self::new(Code::Failed, error),
        }
    }
}

impl From<index::tune::TuneError> for Failure {
    fn from(error: index::tune::TuneError) -> Self {
        use index::tune::TuneError::{
            Answers, Build, Dim, FewQueries, Memory, NotFinite, Recall, Unreachable,
        };
        match error {
            Build(error) => error.into(),
            error @ (Memory { .. } | Unreachable { .. }) => Self::new(Code::Unreachable, error),
            error @ Recall(_) => Self::new(Code::Usage, error),
            error @ (Answers { .. } | Dim { .. } | FewQueries { .. } | NotFinite(_)) => {
                Self::new(Code::Failed, error)
            }
        }
    }
}

impl From<index::tune::Unreached> for Failure {
    fn from(error: index::tune::Unreached) -> Self {
        Self::new(Code::Unreachable, error)
    }
}

impl From<index::GrowError> for Failure {
    fn from(error: index::GrowError) -> Self {
        match error {
            index::GrowError::Open(error) => error.into(),
            index::GrowError::Build(error) => error.into(),
            error => Self::new(Code::Failed, error),
        }
    }
}

impl From<index::BuildError> for Failure {
    fn from(error: index::BuildError) -> Self {
        match error {
            index::BuildError::Cancelled => Self::interrupted(),
            error => Self::new(Code::Failed, error),
        }
    }
}

impl From<index::SearchError> for Failure {
    fn from(error: index::SearchError) -> Self {
        Self::new(Code::Failed, error)
    }
}

impl From<serve::ServeError> for Failure {
    fn from(error: serve::ServeError) -> Self {
        Self::new(Code::Failed, error)
    }
}
