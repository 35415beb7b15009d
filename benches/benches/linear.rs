use criterion::{criterion_group, criterion_main};
fn linear(_: &mut criterion::Criterion) {}
criterion_group!(benches, linear);
criterion_main!(benches);
