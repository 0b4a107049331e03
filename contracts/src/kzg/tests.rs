//! Points and proofs, and `protocol/vectors/blob.json`, which the Solidity tests read: `UPDATE_VECTORS=1` writes it.

use std::path::Path;

use protocol::hash::{Keccak, keccak};
use protocol::ledger::blob::{self, InBlobs, StatedChunk};
use protocol::ledger::{Chunk, State};
use serde_json::{Value, json};

use super::*;

fn chunk(ops: Vec<u8>, declared: u8, post_root: Keccak) -> Chunk {
    Chunk { bytes: ops, declared, post_root }
}

#[test]
fn every_element_of_a_chunk_is_the_polynomials_value_at_its_point() {
    let chunks: Vec<_> =
        (0..600u32).map(|at| chunk(vec![at as u8; 210], 1, Keccak([at as u8; 32]))).collect();
    let blobs = blob::encode(&chunks);
    for (blob, index) in [(&blobs[0], 0u32), (&blobs[0], 511), (&blobs[1], 599)] {
        let opening = open_chunk(blob, index, CHUNK_ELEMENTS);
        let first = (index as usize % BLOB_CHUNKS) * CHUNK_ELEMENTS * 32;
        for (at, element) in opening[48..].chunks_exact(80).enumerate() {
            assert_eq!(element[..32], blob.bytes()[first + 32 * at..][..32], "element {at} of chunk {index}");
        }
    }
    assert_eq!(versioned_hash(&blobs[0]).0[0], 1, "the version");
}

/// A batch of three chunks, of which none changes the empty state: the first fills its room and says that it is longer.
fn three() -> Vec<StatedChunk> {
    let root = State::default().root();
    let noise = (0..210u8).map(|at| if at == 0 { 0 } else { at }).collect();
    let chunks = [chunk(noise, 2, root), chunk(vec![9], 0, root), chunk(vec![0; 40], 3, root)];
    let stated = [0, 2, 2].into_iter().zip(chunks);
    stated.map(|(first_credit, chunk)| StatedChunk { first_credit, chunk }).collect()
}

fn hex(bytes: impl AsRef<[u8]>) -> Value {
    json!(format!("0x{}", ::hex::encode(bytes)))
}

/// One case: a blob with three chunks, each opened.
fn case(chunks: &[StatedChunk], credits: u32) -> Value {
    let mut bytes = blob::encode_stated(chunks)[0].bytes().to_vec();
    // The first chunk's length: over the room. Of its second element's used bytes it is the seventh.
    bytes[32 + 1 + 6] = 255;
    // A byte that counts for nothing.
    bytes[0] = 0x11;
    let blob = Blob::new(&bytes).unwrap();
    let posted =
        InBlobs { count: 3, credits, hashes: vec![versioned_hash(&blob)], blobs: vec![blob.clone()] };
    assert_eq!(posted.chunks(), chunks, "what it reads is what was written");
    let column = |cell: &dyn Fn(usize, &StatedChunk) -> Value| {
        Value::Array(chunks.iter().enumerate().map(|(at, chunk)| cell(at, chunk)).collect())
    };
    json!({
        "credits": posted.credits.to_string(),
        "hash": hex(posted.hashes[0].0),
        "chunksRoot": hex(posted.root().0),
        "firstCredit": column(&|_, stated| json!(stated.first_credit.to_string())),
        "declared": column(&|_, stated| json!(stated.chunk.declared.to_string())),
        "postRoot": column(&|_, stated| hex(stated.chunk.post_root.0)),
        "ops": column(&|_, stated| hex(&stated.chunk.bytes)),
        "elements": column(&|at, _| hex(open_chunk(&blob, at as u32, CHUNK_ELEMENTS))),
        "before": column(&|at, _| match at {
            0 => hex([]),
            _ => hex(open_chunk(&blob, at as u32 - 1, 2)),
        }),
    })
}

#[test]
fn vectors() {
    let honest = three();
    let lie = |change: &dyn Fn(&mut Vec<StatedChunk>)| {
        let mut chunks = three();
        change(&mut chunks);
        case(&chunks, 5)
    };
    let elsewhere = keccak(&[b"lie"]);
    let content = json!({
        "honest": case(&honest, 5),
        "wrongRoot": lie(&|chunks| chunks[1].chunk.post_root = elsewhere),
        "wrongEnd": lie(&|chunks| chunks[2].chunk.post_root = elsewhere),
        "wrongCount": lie(&|chunks| chunks[2].first_credit = 1),
        "wrongStart": lie(&|chunks| chunks[0].first_credit = 1),
        "wrongSum": case(&honest, 6),
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors/blob.json");
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&content).unwrap() + "\n").unwrap();
    }
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert!(
        committed == content,
        "vectors/blob.json differs: the format changed, or UPDATE_VECTORS=1 is due"
    );
}

/// c-kzg's blob.
fn theirs(blob: &Blob) -> Box<c_kzg::Blob> {
    Box::new(c_kzg::Blob::from_bytes(blob.bytes()).unwrap())
}

/// Writes or compares the points; c-kzg brings its own.
#[test]
fn commitments_and_proofs_are_those_of_the_trusted_setup() {
    let unit = |at: usize| {
        let mut bytes = vec![0; blob::BLOB_BYTES];
        bytes[at * 32 + 31] = 1;
        Blob::new(&bytes).unwrap()
    };
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kzg/points.bin");
        let point = |at| *settings().blob_to_kzg_commitment(&theirs(&unit(at))).unwrap().to_bytes();
        std::fs::write(path, (0..setup::ELEMENTS).flat_map(point).collect::<Vec<u8>>()).unwrap();
        return;
    }
    assert_eq!(setup::POINTS.len(), setup::ELEMENTS * 48);
    // Every element counts, each differently: no point can be another.
    let digests = (0..setup::ELEMENTS as u32).map(|at| keccak(&[&at.to_be_bytes()]).0);
    let mut dense: Vec<u8> = digests.flatten().collect();
    dense.iter_mut().step_by(32).for_each(|high| *high %= 0x73);
    let few: Vec<_> = (0..3u8).map(|at| chunk(vec![at; 9], at, Keccak([at; 32]))).collect();
    let nothing = Blob::new(&vec![0; blob::BLOB_BYTES]).unwrap();
    for blob in [Blob::new(&dense).unwrap(), blob::encode(&few).remove(0), unit(1), nothing] {
        let ours = setup::commitment(&blob);
        let commitment = settings().blob_to_kzg_commitment(&theirs(&blob)).unwrap();
        assert_eq!(ours, *commitment.to_bytes());
        // Places with something and with nothing.
        for at in [0, 1, 4_095] {
            let (element, proof) = setup::open(&blob, at);
            let place = c_kzg::Bytes32::new(setup::root(at).to_be_bytes());
            let (want, value) = settings().compute_kzg_proof(&theirs(&blob), &place).unwrap();
            assert_eq!((element, proof), (*value, *want.to_bytes()), "element {at}");
        }
    }
}
