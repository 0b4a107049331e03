//! The committed digests, on every instruction set of this processor and several numbers of threads.

use models::kernels::{Isa, Machine};
use models::proof;

#[test]
fn every_machine_gives_the_committed_digests() {
    for isa in Isa::available() {
        for threads in [1, 2, 7] {
            let got = proof::lines(&|| Machine::with(isa, threads)).unwrap();
            assert_eq!(got, proof::VECTORS, "{isa:?}, {threads} threads (reproduce print shows them)");
        }
    }
}
