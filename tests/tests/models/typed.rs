//! Shapes as types: parameters of a trainer, rows of logits and of hidden states.

use gpt_runtime::__private::plan::{Component, Format, Place, Role};
use gpt_runtime::{AdamW, Batch, Device, Gpt, Matrix, Parameter, Trainer, gpt_model};
use gpt_tests::unit_gain::UnitGain;

gpt_model! {
    struct Gated {
        vocab: 13, context: 8, layers: 3, heads: 2, kv_heads: 1, embed: 8,
        mlp: Gated { hidden: 5 }, tie_embeddings: false,
    }
    struct Post { block: PostNorm, mlp: Dense { hidden: 5 }, ..Gated }
}

/// Evaluated at compile time.
const MLP_UP: Parameter<Gated, 10, 8> = Gated::MLP_UP.layer(2);

fn trainer<M: Gpt>() -> Trainer<M> {
    let weights = UnitGain::new(M::plan(), 7, Format::F32);
    Trainer::new(&Device::cpu().unwrap(), &weights, AdamW::default()).unwrap()
}

#[test]
fn every_trained_tensor_has_a_handle() {
    let ids = [
        Gated::TOKEN_EMBEDDING.id(),
        Gated::POSITIONS.id(),
        Gated::ATTENTION_NORM_GAMMA.layer(0).id(),
        Gated::ATTENTION_NORM_BETA.layer(0).id(),
        Gated::QKV.layer(0).id(),
        Gated::QKV_BIAS.layer(0).id(),
        Gated::ATTENTION_OUT.layer(0).id(),
        Gated::ATTENTION_OUT_BIAS.layer(0).id(),
        Gated::MLP_NORM_GAMMA.layer(0).id(),
        Gated::MLP_NORM_BETA.layer(0).id(),
        Gated::MLP_UP.layer(0).id(),
        Gated::MLP_UP_BIAS.layer(0).id(),
        Gated::MLP_DOWN.layer(0).id(),
        Gated::MLP_DOWN_BIAS.layer(0).id(),
        Gated::FINAL_NORM_GAMMA.id(),
        Gated::FINAL_NORM_BETA.id(),
        Gated::HEAD.id(),
    ];
    let all: Vec<u16> = (0..Gated::PLAN.tensors.len() as u16).collect();
    assert_eq!(ids.map(|id| id.0).to_vec(), all);
    assert_eq!((MLP_UP.id(), MLP_UP.layer()), (ids[10], 2));
    // A vector has one column.
    let _: Parameter<Gated, 10, 1> = Gated::MLP_UP_BIAS.layer(0);
}

#[test]
fn a_trainer_returns_the_parameters_that_it_was_given() {
    let mut trainer = trainer::<Gated>();
    let mut up = trainer.get(MLP_UP).unwrap();
    assert_eq!((up.len(), up[0].len()), (10, 8));
    let other = trainer.get(Gated::MLP_UP.layer(1)).unwrap();
    assert_ne!(up, other);
    up[9] = [0.5; 8];
    trainer.set(MLP_UP, &up).unwrap();
    assert_eq!(trainer.get(MLP_UP).unwrap(), up);
    assert_eq!(trainer.get(Gated::MLP_UP.layer(1)).unwrap(), other);

    // A head of zeros makes every token equally likely.
    let batch = Batch::new((0..8).collect(), (1..9).collect(), 8).unwrap();
    assert_ne!(trainer.loss(&batch).unwrap() as f32, 13f32.ln());
    trainer.set(Gated::HEAD, &Matrix::zeros()).unwrap();
    assert_eq!(trainer.loss(&batch).unwrap() as f32, 13f32.ln());
    let gamma = Matrix::from_rows(&[[2.0]; 8]);
    trainer.set(Gated::FINAL_NORM_GAMMA, &gamma).unwrap();
    assert_eq!(trainer.get(Gated::FINAL_NORM_GAMMA).unwrap(), gamma);
}

#[test]
fn rows_are_arrays() {
    let mut trainer = trainer::<Gated>();
    let model = trainer.model().unwrap();
    let mut session = model.session().open().unwrap();
    let logits = session.push(&[1, 2, 3]).unwrap();
    let row: &[f32; Gated::VOCAB] = logits.as_array();
    assert_eq!(row[..], logits[..]);
    let mut session = model.session().open().unwrap();
    let hidden = session.hidden(&[1, 2, 3]).unwrap();
    let rows: &[[f32; Gated::EMBED]] = hidden.as_arrays();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[2][..], *hidden.row(2));
}

#[test]
#[should_panic = "no such parameter in this layer"]
fn the_first_post_norm_layer_has_no_attention_norm() {
    let plan = Post::PLAN;
    let norm = plan.role(Role::AttentionNorm, Component::Weight).unwrap();
    assert_eq!(plan.tensor(norm).place, Place::Layers { first: 1 });
    let first = Post::ATTENTION_NORM_GAMMA.layer(1);
    assert_eq!(first.id(), norm);
    let _ = Post::ATTENTION_NORM_GAMMA.layer(0);
}
