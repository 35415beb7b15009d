//! Decoding one token on a cache filled up to a position.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gpt_benches::{Bard, Gpt2, SmolLm2, devices, is_software, tokens};
use gpt_runtime::Format;
use gpt_runtime::{Device, Gpt, Model};

fn run<M: Gpt>(criterion: &mut Criterion, name: &str, formats: &[Format], device: &(&str, Device)) {
    let spec = &M::plan().spec;
    // A software adapter takes minutes to fill the longest cache.
    let longest = if is_software(&device.1) { 1024 } else { spec.context };
    let mut group = criterion.benchmark_group(format!("decode/{name}/{}", device.0));
    group.sample_size(10).throughput(Throughput::Elements(1));
    for &format in formats {
        // Created only if the command line selects it.
        let mut model = None;
        for position in [10, 500, 8000] {
            if position >= spec.context.min(longest) as usize {
                continue;
            }
            let tokens = tokens(spec.vocab, position + 1);
            let mut session = None;
            group.bench_function(format!("{}/position {position}", format.name()), |b| {
                let session = session.get_or_insert_with(|| {
                    let model = model.get_or_insert_with(|| {
                        Model::<M>::init_as(&device.1, 0, format).expect("the model fits")
                    });
                    let session = model.session().capacity(tokens.len() as u32);
                    let mut session = session.open().expect("a session");
                    session.push(&tokens[..position]).expect("a prompt");
                    session
                });
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
        run::<SmolLm2>(criterion, "smollm2-135m", &[Format::F32, Format::Q4], device);
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
