//! SIMD distances, top-k, matrix tiles, k-means and convolutions: the sole home of SIMD unsafe.
