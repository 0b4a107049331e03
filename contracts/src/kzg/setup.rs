//! Commitments and proofs as sums over the trusted setup's points. They cost by a blob's elements that are not 0, and
//! need none of what a blob's cells take, which is seconds in the making.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use alloy::primitives::{U256, uint};
use blst::MultiPoint as _;
use blst::min_pk::PublicKey;
use protocol::ledger::blob::Blob;

/// Elements of a blob.
pub(super) const ELEMENTS: usize = 4_096;
const MODULUS: U256 = uint!(0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001_U256);
/// Of the 4,096th roots of 1, the one of which EIP-4844 takes the powers.
const ROOT_OF_UNITY: U256 = uint!(0x564c0a11a0f704f4fc3e8acfe0f8245f0ad1347b378fbf96e206da11a5d36306_U256);
const INDEX_BITS: u32 = 12;
const FIELD_BITS: usize = 255;
/// The points that a blob's elements are counted by, in their order, 48 bytes each: what a blob with a 1 there and 0
/// elsewhere commits to.
pub(super) static POINTS: &[u8] = include_bytes!("points.bin");
/// The sum of nothing.
const AT_INFINITY: [u8; 48] = {
    let mut bytes = [0; 48];
    bytes[0] = 0xc0;
    bytes
};

/// The commitment to a blob.
pub(super) fn commitment(blob: &Blob) -> [u8; 48] {
    sum(elements(blob).map(|(at, value)| (point(at), value)))
}

/// The element at `at` and the proof that it stands there: the commitment to what is left of the polynomial, less that
/// value, once it is divided by x less the element's root.
pub(super) fn open(blob: &Blob, at: usize) -> ([u8; 32], [u8; 48]) {
    let own = elements(blob).find(|(place, _)| *place == at).map_or(U256::ZERO, |(_, value)| value);
    let others = quotient(elements(blob).filter(|(place, _)| *place != at).collect(), at);
    let others = others.into_iter().map(|(place, value)| (point(place), value));
    // That value is in every other place, too: the same sum for every blob.
    let shared = (!own.is_zero()).then(|| (unit_proof(at), own));
    (own.to_be_bytes(), sum(others.chain(shared)))
}

/// Elements that are not 0, with their places.
fn elements(blob: &Blob) -> impl Iterator<Item = (usize, U256)> {
    let words = blob.bytes().as_chunks::<32>().0.iter().enumerate();
    words.map(|(at, word)| (at, U256::from_be_bytes(*word))).filter(|(_, value)| !value.is_zero())
}

/// The values, of places other than `at`, of a polynomial that is 0 there, divided by x less the root of `at`: at these
/// places and at `at`; it is 0 elsewhere.
fn quotient(values: Vec<(usize, U256)>, at: usize) -> Vec<(usize, U256)> {
    let (own, mut divided) = (root(at), values);
    let differences: Vec<U256> = divided.iter().map(|(place, _)| minus(root(*place), own)).collect();
    let mut moment = U256::ZERO;
    for ((place, value), inverse) in divided.iter_mut().zip(inverses(&differences)) {
        *value = value.mul_mod(inverse, MODULUS);
        moment = moment.add_mod(value.mul_mod(root(*place), MODULUS), MODULUS);
    }
    let own_inverse = own.inv_mod(MODULUS).expect("a root of 1 is not 0");
    divided.push((at, minus(U256::ZERO, moment.mul_mod(own_inverse, MODULUS))));
    divided
}

/// The proof of the element at `at` of a blob with a 1 there and 0 elsewhere.
fn unit_proof(at: usize) -> PublicKey {
    static KNOWN: Mutex<BTreeMap<usize, PublicKey>> = Mutex::new(BTreeMap::new());
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&at).copied();
    known.unwrap_or_else(|| {
        let less = MODULUS - U256::ONE;
        let values = (0..ELEMENTS).filter(|place| *place != at).map(|place| (place, less)).collect();
        let proof = sum(quotient(values, at).into_iter().map(|(place, value)| (point(place), value)));
        let proof = PublicKey::uncompress(&proof).expect("a sum of points is on the curve");
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(at, proof);
        proof
    })
}

/// The sum of points, each so many times.
fn sum(terms: impl Iterator<Item = (PublicKey, U256)>) -> [u8; 48] {
    let (mut points, mut scalars) = (Vec::new(), Vec::new());
    for (point, times) in terms.filter(|(_, times)| !times.is_zero()) {
        points.push(point);
        scalars.extend(times.to_le_bytes::<32>());
    }
    if points.is_empty() {
        return AT_INFINITY;
    }
    points.mult(&scalars, FIELD_BITS).to_public_key().compress()
}

fn point(at: usize) -> PublicKey {
    static READ: [OnceLock<PublicKey>; ELEMENTS] = [const { OnceLock::new() }; ELEMENTS];
    let point = || PublicKey::uncompress(&POINTS[48 * at..][..48]);
    *READ[at].get_or_init(|| point().expect("the setup's points are on the curve"))
}

/// Where a blob's polynomial has element `at` as its value: the root of 1 to the power of the index with its 12 bits
/// reversed.
pub(super) fn root(at: usize) -> U256 {
    static ROOTS: OnceLock<Vec<U256>> = OnceLock::new();
    let powers = || {
        let mut roots = vec![U256::ONE; ELEMENTS];
        let mut power = U256::ONE;
        for exponent in 0..ELEMENTS as u32 {
            roots[(exponent.reverse_bits() >> (u32::BITS - INDEX_BITS)) as usize] = power;
            power = power.mul_mod(ROOT_OF_UNITY, MODULUS);
        }
        roots
    };
    ROOTS.get_or_init(powers)[at]
}

/// One over each, none of them 0, by one division.
fn inverses(values: &[U256]) -> Vec<U256> {
    let mut products = Vec::with_capacity(values.len());
    let mut product = U256::ONE;
    for value in values {
        products.push(product);
        product = product.mul_mod(*value, MODULUS);
    }
    let mut inverse = product.inv_mod(MODULUS).expect("a product of what is not 0");
    for (value, before) in values.iter().zip(&mut products).rev() {
        *before = before.mul_mod(inverse, MODULUS);
        inverse = inverse.mul_mod(*value, MODULUS);
    }
    products
}

fn minus(from: U256, value: U256) -> U256 {
    from.add_mod(MODULUS - value, MODULUS)
}
