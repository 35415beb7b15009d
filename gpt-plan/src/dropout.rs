//! Dropout (Srivastava et al. 2014): the choice of the elements that a training pass drops.
//!
//! Whether an element is dropped is a pure function of a key and the element's index. The backward
//! pass recomputes the mask, both engines compute the same one, and none is stored. The function is
//! Wellons' 32-bit integer hash "lowbias32", which has two multiplications. WGSL and SIMD compute
//! it alike.

/// A place in the model where elements are dropped.
#[derive(Clone, Copy, Debug, serde::Serialize, PartialEq, Eq)]
pub enum Site {
    /// The embedding's output.
    Embedding,
    /// The attention's probabilities.
    Attention,
    /// The attention's output projection.
    AttentionOut,
    /// The MLP's second projection.
    MlpDown,
}

/// The masks of one pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// A key that differs from pass to pass.
    pub key: u32,
    /// `probability * 2^32`. An element whose hash is below it is dropped.
    pub threshold: u32,
    /// The factor of the other elements, `1 / (1 - probability)`.
    pub scale: f32,
}

impl Dropout {
    /// Masks that drop each element with `probability`, which is below 1; `None` if it is 0.
    pub fn new(probability: f64, key: u32) -> Option<Dropout> {
        (probability > 0.0).then(|| Dropout {
            key,
            threshold: (probability * 4_294_967_296.0) as u32,
            scale: (1.0 / (1.0 - probability)) as f32,
        })
    }

    /// The key of `site` in `layer` (0 for the embedding).
    pub const fn site_key(key: u32, site: Site, layer: u32) -> u32 {
        hash(key ^ hash((layer * 4 + site as u32).wrapping_add(0x9E37_79B9)))
    }

    /// The factor of element `index` of a site. An element of a matrix has the index
    /// `row * width + column`. A probability of the attention has the index
    /// `((sequence * heads + head) * tokens + query) * tokens + key position`. Indices wrap at
    /// 2^32.
    pub const fn factor(&self, site_key: u32, index: u32) -> f32 {
        if hash(site_key ^ hash(index)) < self.threshold { 0.0 } else { self.scale }
    }
}

/// Mixes all bits; a bijection. Inlined, because engines call it in their inner loops.
#[inline]
pub const fn hash(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_the_right_density_and_differ_between_sites() {
        let dropout = Dropout::new(0.2, 7).unwrap();
        let mask = |site, layer| -> Vec<bool> {
            let key = Dropout::site_key(dropout.key, site, layer);
            (0..100_000).map(|i| dropout.factor(key, i) == 0.0).collect()
        };
        let a = mask(Site::AttentionOut, 0);
        let dropped = a.iter().filter(|d| **d).count() as f64 / 1e5;
        assert!((dropped - 0.2).abs() < 0.006, "{dropped}");
        // Neighbours are independent: both are dropped with the square of the probability.
        let pairs = a.windows(2).filter(|w| w[0] && w[1]).count() as f64 / 1e5;
        assert!((pairs - 0.04).abs() < 0.004, "{pairs}");
        for other in [mask(Site::AttentionOut, 1), mask(Site::MlpDown, 0)] {
            let both = a.iter().zip(&other).filter(|(a, b)| **a && **b).count() as f64 / 1e5;
            assert!((both - 0.04).abs() < 0.004, "{both}");
        }
        assert!(Dropout::new(0.0, 7).is_none());
    }
}
