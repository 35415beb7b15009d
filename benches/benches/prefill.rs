//! A whole prompt in one pass.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gpt_benches::{Bard, Gpt2, SmolLm2, devices, is_software, tokens};
use gpt_runtime::Format;
use gpt_runtime::{Device, Gpt, Model};

fn run<M: Gpt>(criterion: &mut Criterion, name: &str, formats: &[Format], device: &(&str, Device)) {
    let spec = &M::plan().spec;
    // A software adapter takes seconds for a long prompt.
    let lengths = if is_software(&device.1) { [16, 64] } else { [64, 512] };
    let mut group = criterion.benchmark_group(format!("prefill/{name}/{}", device.0));
    group.sample_size(10);
    for &format in formats {
        // Created only if the command line selects it.
        let mut model = None;
        for length in lengths.map(|n: usize| n.min(spec.context as usize)) {
            let tokens = tokens(spec.vocab, length);
            let mut session = None;
            group.throughput(Throughput::Elements(length as u64));
            group.bench_function(format!("{}/{length} tokens", format.name()), |b| {
                let session = session.get_or_insert_with(|| {
                    let model = model.get_or_insert_with(|| {
                        Model::<M>::init_as(&device.1, 0, format).expect("the model fits")
                    });
                    let session = model.session().capacity(length as u32);
                    session.open().expect("a session")
                });
                b.iter(|| {
                    session.truncate(0);
                    session.push(&tokens).expect("a prompt").argmax()
                });
            });
        }
    }
}

fn prefill(criterion: &mut Criterion) {
    for device in &devices() {
        run::<Bard>(criterion, "bard", &[Format::F32], device);
        run::<Gpt2>(
            criterion,
            "gpt2",
            &[Format::F32, Format::Bf16, Format::Q8, Format::Q4],
            device,
        );
        run::<SmolLm2>(criterion, "smollm2-135m", &[Format::F32, Format::Q4], device);
    }
}

criterion_group!(benches, prefill);
criterion_main!(benches);
