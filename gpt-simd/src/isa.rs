//! Instruction sets: their detection, and how they round the inputs of products.

use gpt_plan::Format;

use super::Kernels;

/// An instruction set that the engine has kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 with VNNI and BF16: products of bytes, and of pairs of bf16.
    Avx512Bf16,
    /// AVX-512 with VNNI: products of bytes.
    Avx512Vnni,
    /// AVX-512 (F and BW).
    Avx512,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// NEON, which every 64-bit ARM has.
    Neon,
    /// WebAssembly's vectors of 128 bits, if the program is built with them.
    Simd128,
    /// Plain Rust.
    Portable,
    /// Plain Rust that rounds inputs like [`Avx512Bf16`](Isa::Avx512Bf16), for tests; it is never
    /// the fastest set.
    PortableBf16,
}

impl Isa {
    /// The sets of this processor, the best first. Never empty.
    pub fn available() -> Vec<Isa> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512bw")
            {
                if std::is_x86_feature_detected!("avx512vnni") {
                    if std::is_x86_feature_detected!("avx512bf16") {
                        found.push(Isa::Avx512Bf16);
                    }
                    found.push(Isa::Avx512Vnni);
                }
                found.push(Isa::Avx512);
            }
            if std::is_x86_feature_detected!("avx2")
                && std::is_x86_feature_detected!("fma")
                && std::is_x86_feature_detected!("f16c")
            {
                found.push(Isa::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Isa::Neon);
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        found.push(Isa::Simd128);
        found.extend([Isa::Portable, Isa::PortableBf16]);
        found
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Avx512Bf16 => "AVX-512 with VNNI and BF16",
            Isa::Avx512Vnni => "AVX-512 with VNNI",
            Isa::Avx512 => "AVX-512",
            Isa::Avx2 => "AVX2",
            Isa::Neon => "NEON",
            Isa::Simd128 => "simd128",
            Isa::Portable => "portable",
            Isa::PortableBf16 => "portable, with bytes and BF16",
        }
    }

    /// The kernels, if the processor has the set.
    pub fn kernels(self) -> Option<&'static Kernels> {
        if !Isa::available().contains(&self) {
            return None;
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => Some(&super::AVX512_BF16),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => Some(&super::AVX512_VNNI),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Some(&super::AVX512),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Some(&super::AVX2),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Some(&super::NEON),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128 => Some(&super::SIMD128),
            Isa::Portable => Some(&super::PORTABLE),
            Isa::PortableBf16 => Some(&super::PORTABLE_BF16),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }

    /// The rounding of inputs for a product with a matrix in `format`.
    pub const fn rounding(self, format: Format) -> Rounding {
        let pairs = matches!(self, Isa::Avx512Bf16 | Isa::PortableBf16);
        let bytes = pairs || matches!(self, Isa::Avx512Vnni);
        match format {
            Format::F32 | Format::F16 => Rounding::None,
            Format::Bf16 if pairs => Rounding::Bf16,
            Format::Bf16 => Rounding::None,
            _ if bytes => Rounding::Integer8,
            _ => Rounding::Integer16,
        }
    }
}

/// The rounding of a product's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Not rounded.
    None,
    /// To bf16.
    Bf16,
    /// To integers of 16 bits, in blocks of 32 with a scale each.
    Integer16,
    /// To integers of 8 bits, in blocks of 32 with a scale each.
    Integer8,
}

impl Rounding {
    /// The NMSE that rounding may cause in a few layers, in addition to that of f32 arithmetic. The
    /// residual stream accumulates the errors of products, and a step may magnify them. The root
    /// mean square error of an integer is `max / greatest / sqrt(12)`, where `max` is the largest
    /// magnitude in its block of 32 and `greatest` is 32767 or 127. The root mean square of the
    /// block is between `max / sqrt(32)` and `max`. A bf16 has a relative error of up to 2^-9.
    /// Tests with unusual specs showed up to 4 times the error of one product for integers, and 311
    /// times for bf16.
    pub const fn bound(self) -> f64 {
        match self {
            Rounding::None => 0.0,
            Rounding::Bf16 => 1000.0 / (512.0 * 512.0) / 3.0,
            Rounding::Integer16 => 100.0 * 32.0 / 12.0 / (32_767.0 * 32_767.0),
            Rounding::Integer8 => 100.0 * 32.0 / 12.0 / (127.0 * 127.0),
        }
    }
}
