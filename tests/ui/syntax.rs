//! Invocations that are not declarations.
use gpt_runtime::gpt_model;

gpt_model! {
    pub struct NoColon { heads 4, ..GPT2_SMALL }
    pub struct NoValue { heads: , ..GPT2_SMALL }
    pub struct Nothing { }
    pub struct Same { ..GPT2_SMALL }
    pub struct Same { ..GPT2_SMALL }
    pub struct Generic<T, const N: usize> { heads: 0, ..GPT2_SMALL }
    pub enum NotAStruct { ..GPT2_SMALL }
}

fn main() {}
