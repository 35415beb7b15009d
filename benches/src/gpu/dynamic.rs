//! The dynamic form of a kernel: the same files and tile, with the model's sizes in a uniform.
//!
//! It is derived from the kernel itself, so that the two cannot drift apart: a constant of the
//! header that describes the model becomes a field of a uniform, which the files read. Constants of
//! the tile (invocations, rows and features of a workgroup, its memory) stay literal, as in any
//! library: tiles are chosen when a kernel is written. Where WGSL needs a size at compile time
//! (lengths of arrays, initializers of constants), the size is replaced by its value; everywhere
//! else it is read from the uniform.

use gpt_runtime::__private::plan::Kernel;

/// Constants of a header that describe the tile.
const TILE: &[&str] = &[
    "WORKGROUP_SIZE",
    "ROW_INVOCATIONS",
    "TILE_ROWS",
    "HALVES",
    "SCRATCH_FLOATS",
    "BLOCK_QUADS",
    "STAGED_BLOCKS",
    "SLICES",
    "REMAINDERS",
    "SPLIT_KEYS",
    "TILE",
    "TILES",
    "BINS",
    "BIN_BITS",
    "FIRST_BIN",
    "UNIT",
];

/// Constants that describe the model.
const MODEL: &[&str] = &[
    "ANGLES_OFFSET",
    "ANGLES_STRIDE",
    "A_STRIDE",
    "BETA",
    "BIAS",
    "BLOCKS",
    "BRANCH_SCALE",
    "CENTERED",
    "COLUMNS",
    "DY_QUADS",
    "DY_STRIDE",
    "EMBED",
    "EMBEDDING_SCALE",
    "EMBED_STRIDE",
    "EPSILON",
    "GAMMA",
    "GROUP",
    "HALF",
    "HALF_QUADS",
    "HEADS",
    "HEAD_DIM",
    "KV_WIDTH",
    "K_GROUP",
    "K_GROUPS",
    "K_PARAMETERS",
    "LAST_STRIP",
    "OUTPUTS",
    "OUT_QUADS",
    "OUT_STRIDE",
    "PANEL_LENGTH",
    "PART_PANELS",
    "QKV_STRIDE",
    "QUADS",
    "Q_GROUP",
    "Q_GROUPS",
    "Q_PARAMETERS",
    "Q_WIDTH",
    "ROTATED_WIDTH",
    "SCALE",
    "SECOND_HALF",
    "SLOPE_QUADS",
    "SLOPE_STRIDE",
    "SOFTCAP",
    "STRIPS",
    "VOCAB",
    "VOCAB_STRIDE",
    "WIDTH",
    "WINDOW",
    "X_QUADS",
    "X_STRIDE",
];

/// The binding of the sizes in group 0; no kernel uses this number.
pub const BINDING: u32 = 15;

/// A shader with its sizes in a uniform, and the content of the uniform.
pub struct Dynamic {
    pub wgsl: String,
    pub sizes: Vec<u32>,
}

/// A constant of a header.
struct Constant<'a> {
    name: &'a str,
    kind: &'a str,
    value: &'a str,
}

impl<'a> Constant<'a> {
    /// Parses `const NAME: u32 = 768u; // what it is`.
    fn parse(line: &'a str) -> Option<Constant<'a>> {
        let (name, rest) = line.strip_prefix("const ")?.split_once(": ")?;
        let (kind, rest) = rest.split_once(" = ")?;
        let (value, _) = rest.split_once(';')?;
        Some(Constant { name, kind, value })
    }

    /// Its value as a word of the uniform.
    fn word(&self) -> Result<u32, String> {
        let wrong = || format!("{} is {}, which is not a number", self.name, self.value);
        match self.kind {
            "u32" => self.value.trim_end_matches('u').parse().map_err(|_| wrong()),
            "f32" => self.value.parse().map(f32::to_bits).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

/// The dynamic form of `kernel`.
///
/// # Errors
/// Fails if a constant that is not a `bool` is in neither [`TILE`] nor [`MODEL`].
pub fn dynamic(kernel: &Kernel) -> Result<Dynamic, String> {
    let constants: Vec<_> = kernel.generated().filter_map(Constant::parse).collect();
    let has = |name| constants.iter().any(|c| c.name == name);
    // COLUMNS is the width of a workgroup in attention, and of the matrix in a product.
    let in_attention = has("GROUP");
    let mut model = Vec::new();
    for constant in constants {
        let name = constant.name;
        if TILE.contains(&name) || constant.kind == "bool" || (name == "COLUMNS" && in_attention) {
            continue;
        }
        if !MODEL.contains(&name) {
            return Err(format!(
                "{} has a constant {name}; list it in TILE or MODEL in benches/src/gpu/dynamic.rs",
                kernel.name
            ));
        }
        model.push(constant);
    }
    let sizes = model.iter().map(Constant::word).collect::<Result<_, _>>()?;
    let mut wgsl = String::new();
    for line in kernel.generated() {
        let moves = Constant::parse(line).is_some_and(|c| model.iter().any(|m| m.name == c.name));
        if !moves {
            wgsl.push_str(line);
            wgsl.push('\n');
        }
    }
    if !model.is_empty() {
        let fields = model.iter().map(|c| format!("    {}: {},\n", c.name, c.kind));
        wgsl.push_str(&format!(
            "\nstruct Sizes {{\n{}}}\n@group(0) @binding({BINDING}) var<uniform> sizes: Sizes;\n",
            fields.collect::<String>()
        ));
    }
    let text = gpt_runtime::__private::shaders::link(kernel);
    for line in text[kernel.opening.len() + kernel.header.len()..].lines() {
        rewrite(line, &model, &mut wgsl);
        wgsl.push('\n');
    }
    Ok(Dynamic { wgsl, sizes })
}

/// Writes `line` with every size of `model` read from the uniform, or as a literal where WGSL needs
/// a constant.
fn rewrite(line: &str, model: &[Constant<'_>], out: &mut String) {
    let code = line.split("//").next().unwrap_or_default();
    let of_constants = code.starts_with("const ") || code.starts_with('@');
    // Open angle brackets, counted from the array type's.
    let mut depth = 0u32;
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let word =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        if word == 0 {
            match first {
                '<' if depth > 0 => depth += 1,
                '>' if depth > 0 => depth -= 1,
                _ => {}
            }
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (name, after) = rest.split_at(word);
        match model.iter().find(|c| c.name == name) {
            Some(size) if of_constants || depth > 0 => out.push_str(size.value),
            Some(_) => {
                out.push_str("sizes.");
                out.push_str(name);
            }
            None => out.push_str(name),
        }
        rest = after;
        if name == "array" && rest.starts_with('<') {
            depth += 1;
            out.push('<');
            rest = &rest[1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use gpt_runtime::Gpt;

    use super::*;
    use crate::{Bard, Gpt2, SmolLm2};

    #[test]
    fn the_dynamic_form_of_every_kernel_is_valid() {
        use wgpu::naga;
        use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};

        let plans = [Gpt2::plan(), SmolLm2::plan(), Bard::plan()];
        let kernels =
            plans.iter().flat_map(|plan| plan.kernels.iter().chain(plan.training.kernels.iter()));
        for kernel in kernels {
            let dynamic = dynamic(kernel).unwrap_or_else(|error| panic!("{error}"));
            let module = naga::front::wgsl::parse_str(&dynamic.wgsl).unwrap_or_else(|error| {
                panic!("{}: {}", kernel.name, error.emit_to_string(&dynamic.wgsl))
            });
            let validated =
                Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module);
            if let Err(error) = validated {
                panic!("{}: {}", kernel.name, error.emit_to_string(&dynamic.wgsl));
            }
        }
    }

    #[test]
    fn sizes_are_read_except_lengths_of_arrays() {
        let size = |name, value| Constant { name, kind: "u32", value };
        let model = [size("HEAD_DIM", "64u"), size("WIDTH", "768u")];
        let check = |line: &str, expected: &str| {
            let mut out = String::new();
            rewrite(line, &model, &mut out);
            assert_eq!(out, expected);
        };
        check(
            "    for (var i = 0u; i < HEAD_DIM; i++) { x[i * WIDTH] = a < WIDTH; }",
            "    for (var i = 0u; i < sizes.HEAD_DIM; i++) { x[i * sizes.WIDTH] = a < sizes.WIDTH; }",
        );
        check(
            "var<workgroup> q: array<vec4<f32>, HEAD_DIM>; // HEAD_DIM",
            "var<workgroup> q: array<vec4<f32>, 64u>; ",
        );
        check("const QUADS: u32 = WIDTH / 4u;", "const QUADS: u32 = 768u / 4u;");
        check("let WIDTHS = 1u;", "let WIDTHS = 1u;");
    }
}
