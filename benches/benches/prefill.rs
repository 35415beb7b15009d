//! A prompt at once.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gpt_benches::{Bard, Gpt2, SmolLm2, devices, tokens};
use gpt_runtime::plan::Format;
use gpt_runtime::{Device, Gpt, Model};

fn run<M: Gpt>(criterion: &mut Criterion, name: &str, formats: &[Format], device: &(&str, Device)) {
    // An emulated GPU takes seconds for what the others do in one.
    let lengths = if device.0 == "gpu" {
        [16, 64]
    } else {
        [64, 512]
    };
    for &format in formats {
        let model = Model::<M>::init_as(&device.1, 0, format).expect("the model fits");
        for length in lengths {
            let length = length.min(M::plan().spec.context as usize);
            let tokens = tokens(M::plan().spec.vocab, length);
            let mut session = model
                .session()
                .capacity(length as u32)
                .open()
                .expect("a session");
            let mut group = criterion.benchmark_group(format!("prefill/{name}/{}", device.0));
            group
                .sample_size(10)
                .throughput(Throughput::Elements(length as u64));
            group.bench_function(format!("{}/{length} tokens", format.name()), |b| {
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
            &[Format::F32, Format::Bf16, Format::Q8],
            device,
        );
        run::<SmolLm2>(
            criterion,
            "smollm2-135m",
            &[Format::F32, Format::Q4],
            device,
        );
    }
}

criterion_group!(benches, prefill);
criterion_main!(benches);
