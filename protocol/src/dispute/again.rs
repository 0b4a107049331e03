//! A dispute that has ended, played again from its signed moves: what anyone can do who was not there.
//!
//! Moves carry no times, and nobody could believe them if they did: that a move came too late, or never, is the one
//! thing that is not seen here.

use super::moves::{Body, Refused};
use super::{Asked, Dispute, OpenError, Terms};
use crate::sign::{SignError, Unverified};
use crate::time::Millis;

/// Why these moves are not those of a dispute on these terms. Moves count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplayable {
    /// There is nothing to dispute.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Nobody signed this.
    #[error("move {at}: {why}")]
    Signature {
        /// Which.
        at: usize,
        /// What is wrong with it.
        why: SignError,
    },
    /// Whoever refereed could not have taken it.
    #[error("move {at} cannot have been taken: {why}")]
    Move {
        /// Which.
        at: usize,
        /// Why.
        why: Refused,
    },
}

/// Plays these moves, each of which is taken as having come in time.
///
/// What comes back asks for the operator to be run ([`Asked::Run`]), is over, or waits for a move that never came.
pub fn play(terms: Terms, moves: Vec<Unverified<Body>>) -> Result<Dispute, Unplayable> {
    let mut dispute = Dispute::open(Millis(0), terms)?;
    for (at, said) in (1..).zip(moves) {
        let said = said.verify().map_err(|why| Unplayable::Signature { at, why })?;
        dispute.take(Millis(0), said).map_err(|why| Unplayable::Move { at, why })?;
    }
    Ok(dispute)
}

impl Dispute {
    /// Nobody says anything more; whether that is so, only who waited for it can know.
    pub fn fall_silent(&mut self) {
        if !matches!(self.asked(), Asked::Run { .. } | Asked::Nothing) {
            // Time cannot run past the last millisecond that there is.
            self.due = Millis(0);
            self.tick(Millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Lie, Toy, operator, played, toy};
    use super::super::{Party, Verdict};
    use super::*;

    fn toys() -> [Toy; 2] {
        [Lie::Operator { step: 11, operator: 4, salt: 1 }, Lie::None].map(|lie| toy(20, 3, 7, lie))
    }

    fn moves_of(dispute: &Dispute) -> Vec<Unverified<Body>> {
        dispute.transcript().iter().map(|said| said.as_wire().clone()).collect()
    }

    #[test]
    fn the_same_moves_end_where_they_ended() {
        let ended = played(&toys());
        let mut again = play(ended.terms().clone(), moves_of(&ended)).unwrap();
        assert_eq!(again.first_difference(), ended.first_difference());
        let Asked::Run { operator: number, inputs, .. } = again.asked() else { panic!("{again:?}") };
        again.fall_silent();
        assert_eq!(again.verdict(), None, "nobody's silence keeps an operator from being run");
        again.ran(Some(operator(number, &inputs)));
        assert_eq!(again.verdict(), Some(Verdict::Wrong(Party::Worker)));
    }

    #[test]
    fn moves_that_are_cut_off_look_like_silence() {
        let ended = played(&toys());
        let moves = moves_of(&ended);
        for count in 0..moves.len() - 1 {
            let mut again = play(ended.terms().clone(), moves[..count].to_vec()).unwrap();
            again.fall_silent();
            assert!(again.verdict().unwrap().is_silence(), "{count}");
        }
    }

    #[test]
    fn a_changed_move_is_nobodys_and_one_too_many_is_not_taken() {
        let ended = played(&toys());
        let moves = moves_of(&ended);
        let refused = |moves| play(ended.terms().clone(), moves).unwrap_err();
        for at in 0..moves.len() {
            let mut changed = moves.clone();
            changed[at].body.round += 1;
            assert!(matches!(refused(changed), Unplayable::Signature { at: found, .. } if found == at + 1));
        }
        let mut longer = moves.clone();
        longer.push(moves[0].clone());
        let why = Refused::NothingAsked;
        assert_eq!(refused(longer), Unplayable::Move { at: moves.len() + 1, why });
        let mut terms = ended.terms().clone();
        terms.move_ms += 1;
        assert_eq!(play(terms, moves).unwrap_err(), Unplayable::Move { at: 1, why: Refused::OtherDispute });
    }
}
