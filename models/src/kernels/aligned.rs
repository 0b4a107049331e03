//! Scratch memory that begins with a line of the cache: vectors of up to a line that start at multiples of their own
//! size then never lie across two lines, which would cost two loads.

use std::ops::{Deref, DerefMut};

/// Values of one line.
const LINE: usize = 16;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Values whose first one begins a line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

impl Aligned {
    /// So many zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        Self { lines: vec![Line([0.0; LINE]); len.div_ceil(LINE)], len }
    }

    /// At least so many values; what they are does not matter.
    pub(crate) fn at_least(&mut self, len: usize) -> &mut [f32] {
        if self.len < len {
            *self = Self::zeros(len);
        }
        &mut self[..len]
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a line is 16 values and nothing else, lines lie side by side, and there are enough for `len`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_begin_a_line_and_grow() {
        let mut values = Aligned::default();
        assert!(values.is_empty());
        for len in [0, 1, 16, 17, 100, 40] {
            let got = values.at_least(len);
            assert_eq!(got.len(), len);
            assert!(got.as_ptr().addr().is_multiple_of(64));
            got.fill(1.0);
        }
        assert_eq!(values.len(), 100);
        assert_eq!(&Aligned::zeros(33)[..], &[0.0; 33]);
    }
}
