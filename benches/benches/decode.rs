//! One token after another, on a cache that is filled up to a position.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gpt_benches::{Bard, Gpt2, SmolLm2, devices, tokens};
use gpt_runtime::plan::Format;
use gpt_runtime::{Device, Gpt, Model};

fn run<M: Gpt>(criterion: &mut Criterion, name: &str, formats: &[Format], device: &(&str, Device)) {
    for &format in formats {
        let model = Model::<M>::init_as(&device.1, 0, format).expect("the model fits");
        for position in [0, 255] {
            let tokens = tokens(M::plan().spec.vocab, position + 1);
            let mut session = model.session().capacity(256).open().expect("a session");
            if position > 0 {
                session.push(&tokens[..position]).expect("a prompt");
            }
            let mut group = criterion.benchmark_group(format!("decode/{name}/{}", device.0));
            group.sample_size(10).throughput(Throughput::Elements(1));
            group.bench_function(format!("{}/position {position}", format.name()), |b| {
                b.iter(|| {
                    session.truncate(position);
                    session.push(&tokens[position..]).expect("a token").argmax()
                });
            });
        }
    }
}

fn decode(criterion: &mut Criterion) {
    for device in &devices() {
        run::<Bard>(criterion, "bard", &[Format::F32, Format::Q8], device);
        run::<Gpt2>(criterion, "gpt2", &Format::ALL, device);
        run::<SmolLm2>(
            criterion,
            "smollm2-135m",
            &[Format::F32, Format::Q4],
            device,
        );
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
