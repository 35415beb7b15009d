use gpt_plan::{Format, Mask, Pattern};

use super::*;
use crate::device::Device;
use crate::sample::Sampling;
use crate::weights::{RandomWeights, testing};

fn open(mask: Mask) -> Session {
    let spec = gpt_plan::Spec { mask: Pattern::all(mask), ..testing::gpt2_spec() };
    let plan = testing::plan(&spec);
    let weights = RandomWeights::new(plan, 1, Format::F32);
    let model = Model::from_plan(plan, &weights, &Device::cpu().unwrap()).unwrap();
    model.session().open().unwrap()
}

fn sample(session: &mut Session) -> Result<u32, Error> {
    session.sample(&mut Sampler::new(Sampling::greedy(), 40).unwrap())
}

/// The logits that `sample` computes again are those of a push.
#[test]
fn a_token_follows_hidden_states_as_it_follows_a_push() {
    let text = [3, 1, 4, 1, 5];
    for mask in [Mask::Causal, Mask::Bidirectional] {
        let mut session = open(mask);
        session.push(&text).unwrap();
        let (expected, logits) = (sample(&mut session).unwrap(), session.logits.clone());
        session.truncate(0);
        session.hidden(&text).unwrap();
        assert_eq!(sample(&mut session).unwrap(), expected, "{mask:?}");
        for (a, b) in session.logits.iter().zip(&logits) {
            assert!((a - b).abs() < 1e-4, "{mask:?}: {a} and {b}");
        }
        assert_eq!(session.tokens(), text);
    }
}

/// An engine of tests does not fail, so a token outside the vocabulary makes the run fail.
#[test]
fn tokens_that_cannot_be_run_again_are_kept() {
    for mask in [Mask::Causal, Mask::Bidirectional] {
        let mut session = open(mask);
        session.hidden(&[3, 1]).unwrap();
        session.tokens.push(40);
        for _ in 0..2 {
            assert!(sample(&mut session).is_err());
            assert_eq!(session.tokens(), [3, 1, 40], "{mask:?}");
        }
    }
}
