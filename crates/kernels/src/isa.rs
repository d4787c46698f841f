//! Which instruction set runs: tokens prove that the CPU has it.

use std::sync::OnceLock;

/// Proof that this CPU has AVX2, FMA, F16C and POPCNT (no processor has the first two without the others).
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

/// Proof that this CPU has AVX-512F, with what [`Avx2`] proves, and the [`Extensions`] it carries.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(Extensions);

/// What a processor with AVX-512F has beyond it. A kernel that wants an absent one runs as on AVX2.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// BW, DQ and VL: bytes and words, and the short registers.
    pub bytes: bool,
    /// VBMI: permutations of bytes across a register.
    pub vbmi: bool,
    /// VNNI: sums of four products of bytes.
    pub vnni: bool,
    /// VPOPCNTDQ: set bits of words.
    pub popcnt: bool,
    /// BITALG: set bits of bytes.
    pub bitalg: bool,
}

/// Proof that this CPU has NEON.
#[cfg(target_arch = "aarch64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// The token, where the CPU has AVX2, FMA, F16C and POPCNT.
    #[must_use]
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("popcnt");
        has.then_some(Self(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    /// The token, where the CPU has AVX-512F.
    #[must_use]
    pub fn detect() -> Option<Self> {
        if Avx2::detect().is_none() || !is_x86_feature_detected!("avx512f") {
            return None;
        }
        let bytes = is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        Some(Self(Extensions {
            bytes,
            vbmi: bytes && is_x86_feature_detected!("avx512vbmi"),
            vnni: bytes && is_x86_feature_detected!("avx512vnni"),
            popcnt: bytes && is_x86_feature_detected!("avx512vpopcntdq"),
            bitalg: bytes && is_x86_feature_detected!("avx512bitalg"),
        }))
    }

    /// What this CPU has beyond AVX-512F; each field implies `bytes`.
    #[must_use]
    #[inline]
    pub fn extensions(self) -> Extensions {
        self.0
    }
}

#[cfg(target_arch = "aarch64")]
impl Neon {
    /// The token, where the CPU has NEON.
    #[must_use]
    pub fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

/// An instruction set that this CPU has. All give the same bits; they differ in speed alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust.
    Scalar,
    /// 256-bit registers.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// 512-bit registers.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// 128-bit registers.
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
}

impl Isa {
    /// Every instruction set of this CPU, slowest first.
    #[must_use]
    pub fn present() -> Vec<Self> {
        let mut found = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            found.extend(Avx2::detect().map(Self::Avx2));
            found.extend(Avx512::detect().map(Self::Avx512));
        }
        #[cfg(target_arch = "aarch64")]
        found.extend(Neon::detect().map(Self::Neon));
        found
    }

    /// The name that the environment variables use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
        }
    }

    /// The fastest instruction set of this CPU, or the one that `DEEPEMBED_ISA` names (`scalar`,
    /// `avx2`, `avx512`, `neon`). Looked up once for the life of the process.
    ///
    /// # Panics
    /// When `DEEPEMBED_ISA` names a set that this CPU lacks: a measurement on another set than the
    /// one asked for would be a lie.
    #[must_use]
    #[inline]
    pub fn current() -> Self {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| Self::choose(std::env::var("DEEPEMBED_ISA").ok().as_deref()))
    }

    fn choose(wanted: Option<&str>) -> Self {
        let present = Self::present();
        let Some(wanted) = wanted.filter(|name| !name.is_empty()) else { return present[present.len() - 1] };
        let names: Vec<_> = present.iter().map(|isa| isa.name()).collect();
        present
            .iter()
            .copied()
            .find(|isa| isa.name() == wanted)
            .unwrap_or_else(|| panic!("DEEPEMBED_ISA={wanted}, but this CPU has only {}", names.join(", ")))
    }
}

/// Calls the function of the instruction set that `$isa` proves, from the modules `scalar`, `avx2`, `avx512` and
/// `neon` of the caller, whose functions need AVX2 and FMA, AVX-512F, or NEON and nothing else.
macro_rules! on {
    ($isa:expr, $function:ident($($argument:expr),*)) => {
        match $isa {
            // SAFETY: plain Rust needs no instruction set.
            $crate::Isa::Scalar => unsafe { scalar::$function($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX2 and FMA.
            $crate::Isa::Avx2(_) => unsafe { avx2::$function($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX-512F.
            $crate::Isa::Avx512(_) => unsafe { avx512::$function($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the token proves NEON.
            $crate::Isa::Neon(_) => unsafe { neon::$function($($argument),*) },
        }
    };
}

pub(crate) use on;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_forces_a_level() {
        assert_eq!(Isa::choose(Some("scalar")), Isa::Scalar);
        assert_eq!(Isa::choose(Some("")), Isa::choose(None));
        assert_eq!(Some(&Isa::choose(None)), Isa::present().last());
    }

    #[test]
    #[should_panic(expected = "DEEPEMBED_ISA=mmx, but this CPU has only scalar")]
    fn an_absent_level_is_refused() {
        let _ = Isa::choose(Some("mmx"));
    }

    /// Continuous integration names the level its runner must have, so that the property tests of
    /// `distance` cannot pass by skipping it.
    #[test]
    fn the_required_level_is_present() {
        let Ok(required) = std::env::var("DEEPEMBED_REQUIRE_ISA") else { return };
        let names: Vec<_> = Isa::present().iter().map(|isa| isa.name()).collect();
        assert!(names.contains(&required.as_str()), "{required} is required, this CPU has {names:?}");
    }
}
