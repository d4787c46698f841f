//! One body compiled for several instruction sets.

/// Defines a function that calls `$avx512`, `$avx2` or `$plain`, compiled with those instructions, as
/// [`Isa::current`](crate::Isa::current) says. The bodies are `#[inline(always)]` and differ in constants alone.
macro_rules! widest {
    (
        $(#[$meta:meta])*
        fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?;
        avx512: $avx512:expr, avx2: $avx2:expr, plain: $plain:expr
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        fn $name($($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            fn avx512($($arg: $type),*) $(-> $result)? {
                $avx512($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) $(-> $result)? {
                $avx2($($arg),*)
            }
            match $crate::Isa::current() {
                // SAFETY: the token proves that the processor has AVX-512F, AVX2 and FMA.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx512(_) => unsafe { avx512($($arg),*) },
                // SAFETY: the token proves that the processor has AVX2 and FMA.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx2(_) => unsafe { avx2($($arg),*) },
                _ => $plain($($arg),*),
            }
        }
    };
}

pub(crate) use widest;
