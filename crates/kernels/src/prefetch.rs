//! A hint that memory is wanted soon.

/// Asks for the first 512 bytes of `values` to come into the cache. Changes no result; does nothing
/// where the compiler offers no such instruction.
#[inline(always)]
pub fn prefetch<T>(values: &[T]) {
    /// More lines would evict each other before use.
    const BYTES: usize = 512;
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let bytes = size_of_val(values).min(BYTES);
        let start = values.as_ptr().cast::<i8>();
        for line in (0..bytes).step_by(64) {
            // SAFETY: a prefetch reads nothing that the program can see, and SSE is in every x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, BYTES);
}
