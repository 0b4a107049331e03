//! Frames: a length of 4 bytes (big-endian), then that many bytes of payload.
//!
//! Bytes in, in any chunks; frames out, `None` until one is whole. Nothing here knows a socket.

use super::error::WireError;
use crate::limits::FRAME_BYTES_MAX;

/// Bytes of a frame's header.
pub const HEADER: usize = 4;

/// `payload` as one frame.
///
/// # Errors
/// [`WireError::FrameTooLarge`] if the payload is over [`FRAME_BYTES_MAX`]: what no peer would take is not sent.
pub fn encode_frame(payload: &[u8]) -> Result<Vec<u8>, WireError> {
    let got = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    if got > FRAME_BYTES_MAX {
        return Err(WireError::FrameTooLarge { got, limit: FRAME_BYTES_MAX });
    }
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&got.to_be_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Cuts a stream of bytes into frames.
///
/// Holds at most one unfinished frame (of up to its limit) plus what one [`push`](Self::push) brought: poll until `None`
/// after every push. After an error the stream has no meaning any more: close it.
#[derive(Debug)]
pub struct FrameDecoder {
    limit: u32,
    buffered: Vec<u8>,
    /// Bytes at the front of `buffered` that have left as frames.
    taken: usize,
}

impl Default for FrameDecoder {
    /// A decoder for frames of up to [`FRAME_BYTES_MAX`].
    fn default() -> Self {
        Self::new(FRAME_BYTES_MAX)
    }
}

impl FrameDecoder {
    /// A decoder for frames whose payload has at most `limit` bytes.
    pub const fn new(limit: u32) -> Self {
        Self { limit, buffered: Vec::new(), taken: 0 }
    }

    /// Adds bytes as they came from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffered.drain(..self.taken);
        self.taken = 0;
        self.buffered.extend_from_slice(bytes);
    }

    /// The next whole frame's payload, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`WireError::FrameTooLarge`], as soon as the header is there and before memory is set aside for the payload.
    pub fn poll_frame(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        let Some((header, rest)) = self.buffered[self.taken..].split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let got = u32::from_be_bytes(*header);
        if got > self.limit {
            return Err(WireError::FrameTooLarge { got, limit: self.limit });
        }
        let Some(payload) = rest.get(..got as usize) else { return Ok(None) };
        let payload = payload.to_vec();
        self.taken += HEADER + payload.len();
        if self.taken == self.buffered.len() {
            self.taken = 0;
            self.buffered.clear();
            // One large frame must not keep its memory for the life of an idle connection.
            self.buffered.shrink_to(4 * 1024);
        }
        Ok(Some(payload))
    }

    /// Tells the decoder that the stream ended.
    ///
    /// # Errors
    /// [`WireError::FrameTruncated`] if it ended inside a frame.
    pub fn finish(&self) -> Result<(), WireError> {
        match self.held() {
            0 => Ok(()),
            held => Err(WireError::FrameTruncated { held }),
        }
    }

    /// Bytes buffered that have not left as a frame.
    pub fn held(&self) -> usize {
        self.buffered.len() - self.taken
    }

    /// Bytes still missing for the next frame, or for its header while that is unknown: what to read so that nothing
    /// beyond the frame is taken from the stream. 0 if a frame is ready.
    pub fn wanted(&self) -> usize {
        let held = &self.buffered[self.taken..];
        let whole = match held.split_first_chunk::<HEADER>() {
            Some((header, _)) => HEADER + u32::from_be_bytes(*header).min(self.limit) as usize,
            None => HEADER,
        };
        whole.saturating_sub(held.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames_of(decoder: &mut FrameDecoder) -> Result<Vec<Vec<u8>>, WireError> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.poll_frame()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_frames(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
            cuts in prop::collection::vec(1usize..50, 1..40),
        ) {
            let bytes: Vec<u8> = payloads.iter().flat_map(|payload| encode_frame(payload).unwrap()).collect();
            let mut decoder = FrameDecoder::default();
            let (mut rest, mut got) = (bytes.as_slice(), Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (chunk, after) = rest.split_at(rest.len().min(*cut));
                decoder.push(chunk);
                got.extend(frames_of(&mut decoder).unwrap());
                rest = after;
            }
            prop_assert_eq!(got, payloads);
            prop_assert_eq!(decoder.finish(), Ok(()));
        }

        #[test]
        fn random_bytes_neither_panic_nor_pile_up(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..32),
        ) {
            let mut decoder = FrameDecoder::new(300);
            for chunk in &chunks {
                decoder.push(chunk);
                if frames_of(&mut decoder).is_err() { break; }
                prop_assert!(decoder.held() < 300 + HEADER);
            }
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_by_its_header_alone() {
        let mut decoder = FrameDecoder::default();
        decoder.push(&u32::MAX.to_be_bytes());
        let limit = FRAME_BYTES_MAX;
        assert_eq!(decoder.poll_frame(), Err(WireError::FrameTooLarge { got: u32::MAX, limit }));
        assert!(decoder.buffered.capacity() < 64);
        let large = vec![0; FRAME_BYTES_MAX as usize + 1];
        assert_eq!(encode_frame(&large), Err(WireError::FrameTooLarge { got: limit + 1, limit }));
        assert!(encode_frame(&large[1..]).is_ok());
    }

    #[test]
    fn a_stream_that_ends_inside_a_frame_is_noticed() {
        let mut decoder = FrameDecoder::default();
        decoder.push(&encode_frame(b"whole").unwrap());
        decoder.push(&encode_frame(b"half").unwrap()[..6]);
        assert_eq!(frames_of(&mut decoder), Ok(vec![b"whole".to_vec()]));
        assert_eq!(decoder.finish(), Err(WireError::FrameTruncated { held: 6 }));
    }

    #[test]
    fn reading_what_is_wanted_takes_nothing_beyond_the_frame() {
        let mut bytes = encode_frame(b"head").unwrap();
        bytes.extend_from_slice(b"body");
        let (mut decoder, mut rest) = (FrameDecoder::default(), bytes.as_slice());
        let frame = loop {
            if let Some(frame) = decoder.poll_frame().unwrap() {
                break frame;
            }
            let (next, after) = rest.split_at(decoder.wanted());
            decoder.push(next);
            rest = after;
        };
        assert_eq!((frame.as_slice(), rest), (b"head".as_slice(), b"body".as_slice()));
    }
}
