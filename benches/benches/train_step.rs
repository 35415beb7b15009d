//! A training step, from tokens to updated weights.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gpt_benches::{Gpt2, Nano, SmolLm2, devices, tokens};
use gpt_runtime::{AdamW, Batch, Device, Gpt, Model, TrainerSettings};

fn run<M: Gpt>(
    criterion: &mut Criterion,
    name: &str,
    [sequences, length]: [u32; 2],
    device: &(&str, Device),
) {
    let rows = sequences * length;
    let mut group = criterion.benchmark_group(format!("train_step/{name}/{}", device.0));
    group.sample_size(10).throughput(Throughput::Elements(u64::from(rows)));
    let mut ready = None;
    group.bench_function(format!("{sequences}x{length}"), |b| {
        let (trainer, batch) = ready.get_or_insert_with(|| {
            let model = Model::<M>::init(&device.1, 0).expect("the model fits");
            let settings = TrainerSettings {
                batch: sequences,
                tokens: Some(length),
                // A low rate: gradients vanish once the text is memorised.
                ..TrainerSettings::from(AdamW { lr: 1e-6, ..AdamW::default() })
            };
            let trainer = model.trainer(settings).expect("it fits");
            let text = tokens(M::plan().spec.vocab, (rows + sequences) as usize);
            let batch = Batch::next_tokens(&text, length as usize).expect("a batch");
            (trainer, batch)
        });
        b.iter(|| trainer.step(batch).expect("a step"));
    });
}

fn train_step(criterion: &mut Criterion) {
    for device in &devices() {
        run::<Nano>(criterion, "nano", [12, 64], device);
        // A software adapter takes minutes for these.
        if device.0 == "cpu" || !gpt_benches::is_software(&device.1) {
            run::<Gpt2>(criterion, "gpt2", [4, 64], device);
            run::<SmolLm2>(criterion, "smollm2-135m", [4, 64], device);
        }
    }
}

criterion_group!(benches, train_step);
criterion_main!(benches);
