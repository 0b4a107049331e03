//! What is said of a blob when it is posted, and is not so, is proven by its chunks.

use tests::twins::mutations::{Stage, Stopped};

#[test]
fn what_is_said_of_a_blob_is_proven_wrong_by_its_chunks() {
    let stage = Stage::in_blobs();
    let (blob, count, credits) = stage.blob();
    for (said, count, credits) in [
        ("one chunk fewer", count - 1, credits),
        ("one chunk more", count + 1, credits),
        ("one credit fewer", count, credits - 1),
        ("one credit more", count, credits + 1),
    ] {
        let stopped = stage.try_out_blob(blob.clone(), count, credits);
        let stopped = stopped.unwrap_or_else(|why| panic!("{said}: {why}"));
        assert!(matches!(stopped, Stopped::ByMisfitProof | Stopped::ByFraudProof), "{said}: {stopped:?}");
    }
}
