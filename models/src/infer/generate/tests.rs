//! Prefill, chunks of it, one token at a time, and eight sequences at once: the same bits as the pass that trains.

use proptest::prelude::*;
use protocol::job::ModelKind;
use protocol::rng::Rng;

use super::*;
use crate::zoo;

fn spec() -> ModelSpec {
    let kind = ModelKind::Gpt { layers: 2, heads: 3, width: 24, dropout: 100 };
    ModelSpec { kind, input: [1, 1, 40], classes: 29 }
}

fn weights() -> Weights {
    let parameters = zoo::parameters(&spec()).unwrap();
    // Larger than usual, or attention would be all but even.
    let drawn = (0..).zip(&parameters).flat_map(|(number, own)| own.draw(4, number)).map(|w| 2.0 * w);
    Weights::new(&spec(), drawn.collect()).unwrap()
}

fn tokens(rng: &mut Rng, count: usize) -> Vec<u32> {
    (0..count).map(|_| rng.below(29) as u32).collect()
}

/// The logits of the pass over whole sequences that a training takes.
fn whole(machine: Machine, tokens: &[u32]) -> Vec<u32> {
    let program = gpt::Config::new(&spec()).unwrap().program(tokens.len(), 0).unwrap();
    let none = Optimiser::Sgd { rate: 0.0, momentum: 0.0 };
    let mut session = Session::new(program, weights().values(), none, machine).unwrap();
    let places: Vec<u32> = (0..tokens.len() as u32).collect();
    bits(session.infer(&[Batch::Tokens(tokens), Batch::Tokens(&places)], None).unwrap())
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

fn in_pieces(generator: &mut Generator, tokens: &[u32], mut length: impl FnMut() -> usize) -> Vec<u32> {
    let (mut sequence, mut rest, mut logits) = (generator.begin(), tokens, Vec::new());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(length().clamp(1, rest.len()));
        logits.extend(bits(generator.extend(&mut [(&mut sequence, piece)]).unwrap()));
        rest = after;
    }
    logits
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn prefill_is_chunks_of_it_is_one_token_at_a_time_is_eight_at_once(
        seed: u64,
        threads in 1usize..=3,
        lengths in prop::array::uniform8(1usize..=40),
    ) {
        let mut rng = Rng::new(seed);
        let all = lengths.map(|length| tokens(&mut rng, length));
        let mut generator = Generator::new(&weights(), Machine::new(threads)).unwrap();
        let want: Vec<_> = all.iter().map(|own| whole(Machine::new(1), own)).collect();
        for (own, want) in all.iter().zip(&want) {
            prop_assert_eq!(&in_pieces(&mut generator, own, || 40), want, "prefill");
            prop_assert_eq!(&in_pieces(&mut generator, own, || 1 + rng.below(9) as usize), want, "chunks");
            prop_assert_eq!(&in_pieces(&mut generator, own, || 1), want, "one at a time");
        }
        // All at once, each as far as it goes, by steps of unlike lengths.
        let mut sequences: Vec<_> = all.iter().map(|own| (generator.begin(), &own[..])).collect();
        let mut got = vec![Vec::new(); 8];
        while sequences.iter().any(|(_, rest)| !rest.is_empty()) {
            let mut pieces = Vec::new();
            let mut owners = Vec::new();
            for (owner, (sequence, rest)) in sequences.iter_mut().enumerate().filter(|(_, own)| !own.1.is_empty()) {
                let (piece, after) = rest.split_at(1 + rng.below(rest.len().min(3) as u64) as usize);
                *rest = after;
                owners.extend(piece.iter().map(|_| owner));
                pieces.push((sequence, piece));
            }
            let logits = bits(generator.extend(&mut pieces).unwrap());
            for (owner, logits) in owners.into_iter().zip(logits.chunks_exact(29)) {
                got[owner].extend_from_slice(logits);
            }
        }
        prop_assert_eq!(got, want, "eight at once");
    }
}

#[test]
fn what_follows_is_what_the_whole_pass_would_say_of_prompts_of_any_length() {
    let mut rng = Rng::new(3);
    let mut prompt = |length, wanted| Prompt { tokens: tokens(&mut rng, length), wanted };
    let prompts: Vec<_> = (0..11).map(|at| prompt(1 + 3 * at, 1 + (at as u32 * 5) % 7)).collect();
    let mut generator = Generator::new(&weights(), Machine::new(2)).unwrap();
    let together = generator.generate(&prompts).unwrap();
    for (prompt, followed) in prompts.iter().zip(&together) {
        assert_eq!(followed.len(), prompt.wanted as usize);
        let mut tokens = prompt.tokens.clone();
        for &token in followed {
            let logits = whole(Machine::new(1), &tokens);
            let last: Vec<f32> =
                logits[logits.len() - 29..].iter().map(|&bits| f32::from_bits(bits)).collect();
            assert_eq!(highest(&last), token);
            tokens.push(token);
        }
        let alone = generator.generate(std::slice::from_ref(prompt)).unwrap();
        assert!(alone.len() == 1 && alone[0] == *followed, "alone");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut generator = Generator::new(&weights(), Machine::new(1)).unwrap();
    let mut sequence = generator.begin();
    assert!(matches!(
        generator.extend(&mut [(&mut sequence, &[0; 41])]),
        Err(ModelError::Range { got: 41, most: 40, .. })
    ));
    assert!(matches!(
        generator.extend(&mut [(&mut sequence, &[29])]),
        Err(ModelError::Token { token: 29, vocabulary: 29, .. })
    ));
    let long = Prompt { tokens: vec![0; 30], wanted: 11 };
    assert!(matches!(generator.generate(&[long]), Err(ModelError::Prompt { most: 40, .. })));
    let other = ModelSpec { kind: ModelKind::Logistic, input: [1, 2, 2], classes: 3 };
    let other = Weights::init(&other, 1).unwrap();
    assert!(matches!(Generator::new(&other, Machine::new(1)), Err(ModelError::InputKind { .. })));
    let huge = Weights::new(&spec(), weights().values().iter().map(|w| w * 1e30).collect()).unwrap();
    let mut generator = Generator::new(&huge, Machine::new(1)).unwrap();
    let prompt = Prompt { tokens: vec![1, 2, 3], wanted: 2 };
    assert!(matches!(generator.generate(&[prompt]), Err(ModelError::AnswerNotFinite { .. })));
}
