//! A witness with one thing changed. Queue items are left alone: the court compares them with the queue before it
//! applies anything.

use protocol::amount::Amount;
use protocol::ids::Address;
use protocol::ledger::fraud::Witness;
use protocol::ledger::{Account, Job, StateProof};
use protocol::rng::Rng;

use super::worlds::amount;

/// Changes a witness; false if it has nothing of that kind.
pub type Forgery = fn(&mut Rng, &mut Witness) -> bool;

/// Every kind of forgery, by name.
pub const FORGERIES: [(&str, Forgery); 11] = [
    ("another account", another_account),
    ("another job", another_job),
    ("another sibling", another_sibling),
    ("a sibling too few", sibling_too_few),
    ("a sibling too many", sibling_too_many),
    ("two paths swapped", paths_swapped),
    ("two accounts swapped", accounts_swapped),
    ("two jobs swapped", jobs_swapped),
    ("a path too few", path_too_few),
    ("a leaf too few", leaf_too_few),
    ("an item too few", item_too_few),
];

fn any<'a, T>(rng: &mut Rng, list: &'a mut [T]) -> Option<&'a mut T> {
    if list.is_empty() {
        return None;
    }
    let at = rng.below(list.len() as u64) as usize;
    list.get_mut(at)
}

fn another_account(rng: &mut Rng, witness: &mut Witness) -> bool {
    let Some((_, account)) = any(rng, &mut witness.accounts) else { return false };
    let Account { worker, payout, earned } = account;
    match rng.below(3) {
        0 => worker.0[rng.below(32) as usize] ^= 1,
        1 => payout.0[rng.below(20) as usize] ^= 1,
        _ => *earned = amount(rng),
    }
    true
}

fn another_job(rng: &mut Rng, witness: &mut Witness) -> bool {
    let Some((_, job)) = any(rng, &mut witness.jobs) else { return false };
    let Job { coordinator, funded, spent, terms, closing, next_settlement, open, .. } = job;
    match rng.below(9) {
        0 => *coordinator = Address([rng.next() as u8; 20]),
        1 => *funded = amount(rng),
        2 => *spent = Amount::ZERO,
        3 => terms.price_cap = u64::MAX,
        4 => terms.approve = !terms.approve,
        5 => *closing = rng.below(2),
        6 => *next_settlement = next_settlement.wrapping_add(1),
        7 => open.sum = amount(rng),
        _ => open.last_account = 0,
    }
    true
}

fn another_sibling(rng: &mut Rng, witness: &mut Witness) -> bool {
    let path = any(rng, &mut witness.paths);
    let Some(sibling) = path.and_then(|StateProof { siblings, .. }| any(rng, siblings)) else { return false };
    sibling.0[rng.below(32) as usize] ^= 1 << rng.below(8);
    true
}

fn sibling_too_few(rng: &mut Rng, witness: &mut Witness) -> bool {
    let Some(path) = any(rng, &mut witness.paths) else { return false };
    let Some(highest) = path.bitmap.checked_ilog2() else { return false };
    path.bitmap ^= 1 << highest;
    path.siblings.pop();
    true
}

fn sibling_too_many(rng: &mut Rng, witness: &mut Witness) -> bool {
    let Some(path) = any(rng, &mut witness.paths) else { return false };
    let height = path.bitmap.checked_ilog2().map_or(0, |highest| highest + 1);
    path.bitmap |= 1 << height;
    path.siblings.push(protocol::hash::Keccak([rng.next() as u8; 32]));
    true
}

fn swap_any<T>(rng: &mut Rng, list: &mut [T]) -> bool {
    if list.len() < 2 {
        return false;
    }
    let (a, b) = (rng.below(list.len() as u64), rng.below(list.len() as u64));
    list.swap(a as usize, b as usize);
    true
}

fn paths_swapped(rng: &mut Rng, witness: &mut Witness) -> bool {
    swap_any(rng, &mut witness.paths)
}

fn accounts_swapped(rng: &mut Rng, witness: &mut Witness) -> bool {
    swap_any(rng, &mut witness.accounts)
}

fn jobs_swapped(rng: &mut Rng, witness: &mut Witness) -> bool {
    swap_any(rng, &mut witness.jobs)
}

fn path_too_few(_: &mut Rng, witness: &mut Witness) -> bool {
    witness.paths.pop().is_some()
}

fn leaf_too_few(rng: &mut Rng, witness: &mut Witness) -> bool {
    if rng.chance(1, 2) { witness.accounts.pop().is_some() } else { witness.jobs.pop().is_some() }
}

fn item_too_few(_: &mut Rng, witness: &mut Witness) -> bool {
    witness.items.pop().is_some()
}
