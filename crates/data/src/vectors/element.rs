//! What one value of a vector is stored as, and the exact way between two kinds.

use half::f16;

/// The type of a stored value; always little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// IEEE 754 binary16.
    F16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// Signed, 4 bytes.
    I32,
    /// Unsigned, 4 bytes.
    U32,
    /// Signed, 8 bytes.
    I64,
}

impl Element {
    /// Every kind.
    pub const ALL: [Self; 8] =
        [Self::F16, Self::F32, Self::F64, Self::U8, Self::I8, Self::I32, Self::U32, Self::I64];

    /// Bytes a value.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// Its name on the command line and in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
        }
    }

    /// Whether values may have fractions.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    /// The value at the start of `bytes`.
    ///
    /// # Panics
    /// When `bytes` is shorter than [`Element::size`].
    #[must_use]
    pub fn get(self, bytes: &[u8]) -> Number {
        match self {
            Self::F16 => Number::Float(f16::from_le_bytes(head(bytes)).to_f64()),
            Self::F32 => Number::Float(f32::from_le_bytes(head(bytes)).into()),
            Self::F64 => Number::Float(f64::from_le_bytes(head(bytes))),
            Self::U8 => Number::Whole(bytes[0].into()),
            Self::I8 => Number::Whole((bytes[0] as i8).into()),
            Self::I32 => Number::Whole(i32::from_le_bytes(head(bytes)).into()),
            Self::U32 => Number::Whole(u32::from_le_bytes(head(bytes)).into()),
            Self::I64 => Number::Whole(i64::from_le_bytes(head(bytes))),
        }
    }

    /// Appends `number` to `out`; false, and nothing appended, when it does not fit.
    ///
    /// With [`Rounding::Nearest`] a number between two values becomes the nearer one (a tie the even one); a number
    /// beyond the kind's range, and one that is not finite, never fits.
    #[must_use]
    pub fn put(self, number: Number, rounding: Rounding, out: &mut Vec<u8>) -> bool {
        let fits = if self.is_float() { self.float_of(number) } else { self.whole_of(number, rounding) };
        let Some((stored, exact)) = fits else { return false };
        if !exact && rounding == Rounding::Exact {
            return false;
        }
        match stored {
            Number::Float(value) => match self {
                Self::F16 => out.extend(f16::from_f64(value).to_le_bytes()),
                Self::F64 => out.extend(value.to_le_bytes()),
                _ => out.extend((value as f32).to_le_bytes()),
            },
            Number::Whole(value) => out.extend_from_slice(&value.to_le_bytes()[..self.size()]),
        }
        true
    }

    /// `number` as this float kind, and whether it is the same number.
    fn float_of(self, number: Number) -> Option<(Number, bool)> {
        let (wide, whole) = match number {
            Number::Float(value) => (value, None),
            Number::Whole(value) => (value as f64, Some(value)),
        };
        let narrow = match self {
            Self::F16 => f16::from_f64(wide).to_f64(),
            Self::F64 => wide,
            _ => f64::from(wide as f32),
        };
        // In i128 no saturation hides that 2^63 is not 2^63 - 1.
        let exact = whole.map_or(narrow == wide, |value| narrow as i128 == i128::from(value));
        narrow.is_finite().then_some((Number::Float(narrow), exact))
    }

    /// `number` as this whole kind, and whether it is the same number.
    fn whole_of(self, number: Number, rounding: Rounding) -> Option<(Number, bool)> {
        let (value, exact) = match number {
            Number::Whole(value) => (i128::from(value), true),
            Number::Float(value) if value.is_finite() => {
                let near =
                    if rounding == Rounding::Nearest { value.round_ties_even() } else { value.trunc() };
                (near as i128, near == value)
            }
            Number::Float(_) => return None,
        };
        let (low, high) = match self {
            Self::U8 => (0, u8::MAX.into()),
            Self::I8 => (i8::MIN.into(), i8::MAX.into()),
            Self::U32 => (0, u32::MAX.into()),
            Self::I32 => (i32::MIN.into(), i32::MAX.into()),
            _ => (i64::MIN.into(), i64::MAX.into()),
        };
        (low..=high).contains(&value).then_some((Number::Whole(value as i64), exact))
    }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Element {
    type Err = ElementNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|element| element.name() == text)
            .ok_or_else(|| ElementNameError(text.into()))
    }
}

/// A word that names no [`Element`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no kind of value; there are f16, f32, f64, u8, i8, i32, u32 and i64")]
pub struct ElementNameError(String);

/// One value, wide enough for every [`Element`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// From a float kind.
    Float(f64),
    /// From a whole kind.
    Whole(i64),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // The other form writes 1e300 as a one and 300 noughts.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Whole(value) => write!(f, "{value}"),
        }
    }
}

/// What becomes of a value that the target kind cannot hold exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// It is refused.
    #[default]
    Exact,
    /// It becomes the nearest one; beyond the range it is still refused.
    Nearest,
}

fn head<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("a slice of N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(element: Element, number: Number, rounding: Rounding) -> Option<Number> {
        let mut out = Vec::new();
        element.put(number, rounding, &mut out).then(|| element.get(&out))
    }

    #[test]
    fn a_value_fits_or_is_refused() {
        use Number::{Float, Whole};
        use Rounding::{Exact, Nearest};
        assert_eq!(stored(Element::U8, Float(255.0), Exact), Some(Whole(255)));
        assert_eq!(stored(Element::U8, Float(254.5), Exact), None);
        // A tie goes to the even neighbour: 254, not 255.
        assert_eq!(stored(Element::U8, Float(254.5), Nearest), Some(Whole(254)));
        assert_eq!(stored(Element::U8, Float(255.5), Nearest), None, "256 is beyond a byte");
        assert_eq!(stored(Element::U8, Float(-0.5), Nearest), Some(Whole(0)));
        assert_eq!(stored(Element::I8, Whole(-129), Nearest), None);
        assert_eq!(stored(Element::F16, Whole(2049), Exact), None, "f16 has 11 bits");
        assert_eq!(stored(Element::F16, Whole(2049), Nearest), Some(Float(2048.0)));
        assert_eq!(stored(Element::F16, Float(65520.0), Nearest), None, "that would be infinite");
        assert_eq!(stored(Element::F32, Float(0.1), Exact), None);
        assert_eq!(stored(Element::F32, Float(0.1), Nearest), Some(Float(f64::from(0.1f32))));
        assert_eq!(stored(Element::F64, Whole(i64::MAX), Exact), None, "2^63 - 1 has 63 bits");
        assert_eq!(stored(Element::I64, Float(9.3e18), Nearest), None);
        assert_eq!(stored(Element::I64, Whole(i64::MIN), Exact), Some(Whole(i64::MIN)));
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Element::ALL.iter().all(|&element| stored(element, Float(bad), Nearest).is_none()));
        }
    }

    #[test]
    fn names_are_read_back() {
        for element in Element::ALL {
            assert_eq!(element.name().parse(), Ok(element));
        }
        assert!("f8".parse::<Element>().unwrap_err().to_string().starts_with("`f8` is no kind"));
    }

    proptest! {
        #[test]
        fn what_is_stored_exactly_is_the_same_number(value in any::<f64>(), whole in any::<i64>()) {
            for element in Element::ALL {
                if let Some(Number::Float(back)) = stored(element, Number::Float(value), Rounding::Exact) {
                    prop_assert_eq!(back, value);
                }
                if let Some(Number::Whole(back)) = stored(element, Number::Whole(whole), Rounding::Exact) {
                    prop_assert_eq!(back, whole);
                }
            }
            prop_assert_eq!(stored(Element::I64, Number::Whole(whole), Rounding::Exact), Some(Number::Whole(whole)));
        }
    }
}
