//! The pre-tokenizers of byte pair encodings in GGUF files.
//!
//! A GGUF has no pre-tokenizer but only its name (`tokenizer.ggml.pre`), which llama.cpp gave to
//! the `tokenizer.json` of a family. [`TABLE`] has what that `tokenizer.json` says: how it cuts a
//! text into words, whether it first composes characters (NFC), whether a word that is a token
//! needs no merges, and whether, by default, a text begins with BOS and ends with a separator.
//! Expressions come from the families' files; where llama.cpp rewrites one for its own engine, the
//! original is here.

use serde_json::{Value as Json, json};

/// The pre-tokenizer of some families.
pub struct PreTokenizer {
    /// The names that GGUF files have for it.
    names: &'static [&'static str],
    cuts: &'static [Cut],
    /// Whether characters are composed (NFC) first.
    pub composes: bool,
    /// Whether a word that is a token is not merged from its parts.
    pub ignores_merges: bool,
    /// Whether a text begins with BOS by default.
    pub adds_bos: bool,
    /// Whether a text ends with a separator by default.
    pub separates: bool,
}

/// A step that cuts words.
enum Cut {
    /// Every match of an expression becomes a word, and so does the text between two.
    At(&'static str),
    /// Every digit is a word.
    Digits,
    /// Every run of digits is a word.
    DigitRuns,
    /// Every run of punctuation is a word.
    Punctuation,
    /// Every character of punctuation is a word.
    EachPunctuation,
    /// GPT-2's words, in characters that encode bytes.
    Gpt2,
}

use Cut::{At, DigitRuns, Digits, EachPunctuation, Gpt2, Punctuation};

/// Words as in GPT-4: contractions in upper or lower case; letters, with at most one other
/// character before them; as many digits as the quantifier `$digits` allows; other characters, with
/// the line breaks after them; white space.
macro_rules! words {
    ($digits:literal) => {
        concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
            $digits,
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
    };
}

/// Words as in GPT-4o: they also begin at capitals. `$end` is the expression for the contraction at
/// the end of a word.
macro_rules! cased_words {
    ($upper:literal, $lower:literal, $end:literal, $digits:literal, $breaks:literal) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?",
            $upper,
            "*",
            $lower,
            "+",
            $end,
            r"|[^\r\n\p{L}\p{N}]?",
            $upper,
            "+",
            $lower,
            "*",
            $end,
            r"|\p{N}",
            $digits,
            r"| ?[^\s\p{L}\p{N}]+",
            $breaks,
            r"|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
    };
    ($end:literal, $digits:literal) => {
        cased_words!(
            r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]",
            r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]",
            $end,
            $digits,
            r"[\r\n/]*"
        )
    };
}

const GPT4: &str = words!("{1,3}");
const QWEN2: &str = words!("");
const GPT4O: &str = cased_words!("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "{1,3}");
const TEKKEN: &str = cased_words!("", "");
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const CJK: &str = "[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+";
const DEEPSEEK_V3: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// The letters with case of most alphabets, as DeepSeek LLM lists them.
const DEEPSEEK_LETTERS: &str = concat!(
    r"\s?[",
    "A-Za-z\u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\u{1c4}-\u{293}",
    "\u{295}-\u{2af}\u{370}-\u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\u{388}-",
    "\u{38a}\u{38c}\u{38e}-\u{3a1}\u{3a3}-\u{3f5}\u{3f7}-\u{481}\u{48a}-\u{52f}\u{531}-",
    "\u{556}\u{10a0}-\u{10c5}\u{13a0}-\u{13f5}\u{13f8}-\u{13fd}\u{1c90}-\u{1cba}\u{1cbd}-",
    "\u{1cbf}\u{1d00}-\u{1d2b}\u{1d6b}-\u{1d77}\u{1d79}-\u{1d9a}\u{1e00}-\u{1f15}\u{1f18}",
    "-\u{1f1d}\u{1f20}-\u{1f45}\u{1f48}-\u{1f4d}\u{1f50}-\u{1f57}\u{1f59}\u{1f5b}\u{1f5d}",
    "\u{1f5f}-\u{1f7d}\u{1f80}-\u{1fb4}\u{1fb6}-\u{1fbc}\u{1fbe}\u{1fc2}-\u{1fc4}\u{1fc6}",
    "-\u{1fcc}\u{1fd0}-\u{1fd3}\u{1fd6}-\u{1fdb}\u{1fe0}-\u{1fec}\u{1ff2}-\u{1ff4}",
    "\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\u{210a}-\u{2113}\u{2115}\u{2119}-\u{211d}\u{2124}",
    "\u{2126}\u{2128}\u{212a}-\u{212d}\u{212f}-\u{2134}\u{2139}\u{213c}-\u{213f}\u{2145}-",
    "\u{2149}\u{214e}\u{2183}\u{2184}\u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\u{2ceb}-\u{2cee}",
    "\u{2cf2}\u{2cf3}\u{a640}-\u{a66d}\u{a680}-\u{a69b}\u{a722}-\u{a76f}\u{a771}-\u{a787}",
    "\u{a78b}-\u{a78e}\u{ab70}-\u{abbf}\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\u{ff21}-",
    "\u{ff3a}\u{ff41}-\u{ff5a}\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}",
    "\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}",
    "]+"
);

const DEEPSEEK_PUNCTUATION: &str =
    "\\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+";

const fn row(names: &'static [&'static str], cuts: &'static [Cut]) -> PreTokenizer {
    PreTokenizer {
        names,
        cuts,
        composes: false,
        ignores_merges: false,
        adds_bos: false,
        separates: false,
    }
}

impl PreTokenizer {
    const fn composes(mut self) -> Self {
        self.composes = true;
        self
    }

    const fn ignores_merges(mut self) -> Self {
        self.ignores_merges = true;
        self
    }

    const fn adds_bos(mut self) -> Self {
        self.adds_bos = true;
        self
    }

    const fn separates(mut self) -> Self {
        self.separates = true;
        self
    }
}

#[rustfmt::skip]
static TABLE: &[PreTokenizer] = &[
    row(&["gpt-2", "default", "phi-2", "jais", "trillion", "granite-docling", "exaone4", "mellum",
        "gigachat", "a.x-4.0", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de"], &[Gpt2]),
    row(&["olmo", "mpt"], &[Gpt2]).composes(),
    row(&["modern-bert"], &[Gpt2]).composes().separates(),
    row(&["jina-v1-en", "jina-v2-code", "roberta-bpe"], &[Gpt2]).adds_bos().separates(),
    row(&["smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[Digits, Gpt2]),
    row(&["command-r"], &[Digits, Gpt2]).composes(),
    row(&["falcon"], &[Punctuation, Gpt2, DigitRuns, At("[0-9][0-9][0-9]")]),
    row(&["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        &[At(GPT4)]).ignores_merges().adds_bos(),
    row(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], &[At(GPT4)]),
    row(&["qwen2", "deepseek-r1-qwen", "megrez", "kormo", "f2llmv2", "stablelm2"], &[At(QWEN2)])
        .composes(),
    row(&["hunyuan", "solar-open", "grok-2"], &[At(QWEN2)]),
    row(&["qwen35"], &[At(concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}",
        r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"))]).composes(),
    row(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[At(GPT4O)]),
    row(&["tiny_aya", "cohere2moe"], &[At(r"\d{1,3}(?=(?:\d{3})*\b)"), At(GPT4O)]),
    row(&["tekken"], &[At(TEKKEN)]).ignores_merges().adds_bos(),
    row(&["kimi-k2"], &[At(concat!(r"[\p{Han}]+|", cased_words!(
        r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]",
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "{1,3}", r"[\r\n]*")))]),
    row(&["youtu"], &[
        At("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u{3040}-ゟ゠-ヿ]+"),
        At(cased_words!("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", ""))]).ignores_merges(),
    row(&["deepseek-llm"], &[At(r"[\r\n]"), At(DEEPSEEK_LETTERS),
        At(DEEPSEEK_PUNCTUATION), At(r"\s+$"), At(CJK), Digits]),
    row(&["deepseek-coder"],
        &[At(r"[\r\n]"), At(r"\s?\p{L}+"), At(r"\s?\p{P}+"), At(CJK), Digits]),
    row(&["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        &[At(r"\p{N}{1,3}"), At("[一-龥\u{3040}-ゟ゠-ヿ]+"), At(DEEPSEEK_V3)]),
    row(&["bloom", "poro-chat", "gpt3-finnish"], &[At(BLOOM)]),
    row(&["viking"], &[At(BLOOM), Digits]),
    row(&["jais-2"], &[At(concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)",
        r"|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}"))]),
    row(&["chameleon"], &[At("<sentinel:[0-9]+>"), At("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"),
        At(r"([\t\n]|    |  )"), EachPunctuation, Digits, Gpt2]).adds_bos(),
    row(&["bailingmoe", "bailingmoe2", "llada-moe"], &[At(concat!(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}",
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"))]),
    row(&["seed-coder"], &[At(concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}",
        r"| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"))]),
    row(&["exaone-moe"], &[At(concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}",
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"))]),
    row(&["minicpm5"], &[At(r"\p{N}{1,3}"), At(words!("+"))]),
    row(&["superbpe"], &[At(r"\p{N}+"), At(r"(?=(\d{3})+(?!\d))")]),
];

/// The pre-tokenizer with this name in GGUF files.
pub fn find(name: &str) -> Option<&'static PreTokenizer> {
    TABLE.iter().find(|row| row.names.contains(&name))
}

/// A text that any two pre-tokenizers of the table cut differently, unless their steps are the same
/// or equivalent.
const PROBE: &str = concat!(
    " \n \n\n \t \t\t  x    y\r\n 1 12 333 4444 55555 666666 7777777 v1.25 a1b22 3 x²½ Ⅷ ",
    "I'm WE'LL they'd'VE 'Tis don't iPhone XMLParser HelloWORLD o'Neill's ",
    "#hash ##two 'quoted' \"x\" (a)(b) [c] {d} $5 %x &&= a_b _c -- -d /e \\f ~g ^ ` | ..! ?! :) <> ",
    "e\u{301}e\u{301}a\u{308} ñ Ünïcødé Привет ЖУК ΑΒΓ ǅ ʰʰ שלום مرحبا नमस्ते ด้วย ",
    "你好世界，世界。「引号」 3年 ひらがな カタカナ 한국어 ㄱㄴ ㄅㄆ 한글a가나 一a二 汉字abc漢字 ",
    "🚀 (ok) 👍🏽 👨\u{200d}👩\u{200d}👧 … “q” ‘s’ — ！？ € ± × ﬁ ℃ ™ ",
    "<sentinel:12> IMGIMGABCZ a…b。c، d، (e f(g |h x,y.z !!!a ???\n...\n\n- /\n;;\r\n a\n\nb !\n/ ",
    "x                    y  12  345  z ends here  "
);

/// The name of the first pre-tokenizer in the table that cuts text as `inner` does.
pub fn name_of(inner: &tokenizers::Tokenizer, ignores_merges: bool) -> Option<&'static str> {
    let words = super::words(inner, PROBE);
    let rows = TABLE.iter().filter(|row| row.ignores_merges == ignores_merges);
    let mut same = rows.filter(|row| super::words(&row.tokenizer(), PROBE) == words);
    same.next().map(|row| row.names[0])
}

impl PreTokenizer {
    /// A tokenizer without tokens that has this pre-tokenizer.
    fn tokenizer(&self) -> tokenizers::Tokenizer {
        let json = super::byte_pairs(json!({}), &[], self, Vec::new());
        super::parse(json.to_string().as_bytes(), "a row").expect("a row of the table")
    }

    /// The `pre_tokenizer` of a `tokenizer.json`.
    pub fn json(&self) -> Json {
        let split = |regex: &str| json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false });
        let mut steps: Vec<Json> = Vec::new();
        for cut in self.cuts {
            steps.push(match cut {
                At(regex) => split(regex),
                Digits => json!({ "type": "Digits", "individual_digits": true }),
                DigitRuns => json!({ "type": "Digits", "individual_digits": false }),
                Punctuation => json!({ "type": "Punctuation", "behavior": "Contiguous" }),
                EachPunctuation => json!({ "type": "Punctuation", "behavior": "Isolated" }),
                Gpt2 => bytes(true),
            });
        }
        if !self.cuts.iter().any(|cut| matches!(cut, Gpt2)) {
            steps.push(bytes(false));
        }
        json!({ "type": "Sequence", "pretokenizers": steps })
    }
}

/// The step that turns bytes into characters, and cuts GPT-2's words if `regex`.
pub fn bytes(regex: bool) -> Json {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row is found by the words that it makes. Rows with the same steps count as one, and so
    /// do two whose expressions are equivalent.
    #[test]
    fn pre_tokenizers_are_told_apart() {
        let steps = |row: &PreTokenizer| (row.json(), row.composes, row.ignores_merges);
        let words: Vec<(bool, Vec<String>)> = TABLE
            .iter()
            .map(|row| (row.ignores_merges, super::super::words(&row.tokenizer(), PROBE)))
            .collect();
        let mut same = Vec::new();
        for (row, own) in TABLE.iter().zip(&words) {
            let first = TABLE.iter().find(|other| steps(other) == steps(row)).unwrap();
            let found = &TABLE[words.iter().position(|words| words == own).unwrap()];
            if found.names[0] != first.names[0] {
                same.push((first.names[0], found.names[0]));
            }
        }
        assert_eq!(same, [("bailingmoe", "hunyuan")]);
        let json = json!({
            "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "Whitespace" },
            "model": { "type": "BPE", "vocab": {}, "merges": [] },
        });
        let other = super::super::parse(json.to_string().as_bytes(), "it").unwrap();
        assert_eq!(name_of(&other, false), None);
    }
}
