//! The functions of C's library of mathematics that anything in this program calls.
//!
//! With these the program does without that library. To load one more with each start takes a twentieth of rendering a
//! small chart.

#![expect(
    unsafe_code,
    reason = "the linker is to find them under the names that C gives them"
)]

#[unsafe(no_mangle)]
extern "C" fn exp(x: f64) -> f64 {
    libm::exp(x)
}

#[unsafe(no_mangle)]
extern "C" fn ldexp(x: f64, exponent: i32) -> f64 {
    libm::ldexp(x, exponent)
}

#[unsafe(no_mangle)]
extern "C" fn log2(x: f64) -> f64 {
    libm::log2(x)
}

#[unsafe(no_mangle)]
extern "C" fn log2f(x: f32) -> f32 {
    libm::log2f(x)
}

#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}
