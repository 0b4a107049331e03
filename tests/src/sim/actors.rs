//! Who takes part: honest workers, which may be slow, crash, leave and come back; workers that lie; requesters.

pub mod client;
pub mod honest;
pub mod liar;
pub mod tasks;

use std::collections::BTreeMap;

use protocol::ids::{Address, WorkerId};
use protocol::job::Name;
use protocol::rng::Rng;
use protocol::sign::{EthKey, NodeKey};
use protocol::wire::message::{Abilities, DataSet, DataSets};

use super::Peer;
use super::swarm::Params;
use honest::Honest;
use liar::Liar;

/// The invitation of clusters that use one.
pub fn invitation() -> Name {
    name("let-me-in")
}

/// One for those whom nobody knows.
pub fn guests() -> Name {
    name("anyone")
}

pub(super) fn name(text: &str) -> Name {
    text.parse().expect("the simulator's names are names")
}

pub(super) fn payout(who: usize) -> Address {
    Address([0xa0 + who as u8; 20])
}

/// The key for a worker's statements.
pub(super) fn signer(who: usize) -> EthKey {
    EthKey::from_secret(&[0x51 + who as u8; 32]).expect("a small number is a key")
}

pub(super) fn abilities(slots: u64, tags: &[&str], who: usize) -> Abilities {
    let sets: Vec<DataSet> =
        tags.iter().map(|tag| DataSet { tag: name(tag), examples: 10 + who as u64 }).collect();
    let data = DataSets::try_from(sets).expect("a few different tags");
    Abilities { slots: slots as u32, cores: 1, memory_bytes: 1 << 30, data }
}

/// Every worker of a cluster. The first honest one serves every job, so that none is without any.
pub(super) fn peers(params: &Params, rng: &mut Rng) -> (Vec<Peer>, BTreeMap<WorkerId, usize>) {
    let (mut peers, mut ids) = (Vec::new(), BTreeMap::new());
    for who in 0..(params.honest + params.liars) as usize {
        let key = NodeKey::from_seed(&[1 + who as u8; 32]);
        ids.insert(key.id(), who);
        let slots = 1 + rng.below(params.slots_max);
        peers.push(if (who as u64) < params.honest {
            let picky = who > 0 && who as u64 >= params.honest - params.picky;
            Peer::Honest(Box::new(Honest::new(params, who, slots, picky)))
        } else {
            Peer::Liar(Box::new(Liar::new(key, who, slots)))
        });
    }
    (peers, ids)
}
