//! IDX, the format of MNIST and Fashion-MNIST: a header of big-endian sizes, then bytes; plain or gzip.
//!
//! Whether a stream is gzip is decided by its first bytes, never by a file's name.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use flate2::{Compression, GzBuilder};

use super::{DataError, Dataset, VALUES_MAX};

/// Reads a pair of IDX streams; `images` may be (n, h, w) or (n, channels, h, w), `labels` (n).
///
/// Memory grows with what the streams really hold, and never past [`VALUES_MAX`] values, whatever they announce.
pub fn read(images: impl Read, labels: impl Read) -> Result<Dataset, DataError> {
    let images = Idx::read("images", images)?;
    let shape = match images.sides[..] {
        [_, height, width] => [1, height, width],
        [_, channels, height, width] => [channels, height, width],
        _ => return Err(images.dimensions("3 or 4")),
    };
    let labels = Idx::read("labels", labels)?;
    if labels.sides.len() != 1 {
        return Err(labels.dimensions("1"));
    }
    if images.sides[0] != labels.sides[0] {
        return Err(DataError::Count { examples: images.sides[0].into(), labels: labels.sides[0].into() });
    }
    let inputs = images.bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    Dataset::new(inputs, shape, labels.bytes.into_iter().map(u32::from).collect())
}

/// Reads a pair of IDX files; an error names the file.
pub fn read_files(images: &Path, labels: &Path) -> Result<Dataset, DataError> {
    read(open(images)?, open(labels)?)
}

/// Reads the images of one IDX stream, without labels: the inputs and the shape of one.
pub fn read_images(images: impl Read) -> Result<(Vec<f32>, [u32; 3]), DataError> {
    let images = Idx::read("images", images)?;
    let shape = match images.sides[..] {
        [_, height, width] => [1, height, width],
        [_, channels, height, width] => [channels, height, width],
        _ => return Err(images.dimensions("3 or 4")),
    };
    Ok((images.bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect(), shape))
}

/// The IDX bytes of a data set's images and labels, for sets whose inputs are k/255 and whose labels are below 256.
///
/// One channel is written as (n, h, w), more as (n, channels, h, w).
pub fn encode(data: &Dataset) -> Result<(Vec<u8>, Vec<u8>), DataError> {
    let count = u32::try_from(data.len()).map_err(|_| DataError::TooLarge {
        what: "examples",
        got: data.len() as u64,
        limit: u32::MAX.into(),
    })?;
    let [channels, height, width] = data.shape();
    let mut images = match channels {
        1 => header(&[count, height, width]),
        _ => header(&[count, channels, height, width]),
    };
    let mut labels = header(&[count]);
    for at in 0..data.len() {
        labels.push(u8::try_from(data.labels()[at]).map_err(|_| DataError::NotBytes { at })?);
        for &value in data.input(at) {
            let byte = (value * 255.0).round_ties_even();
            if !(0.0..=255.0).contains(&byte) || byte / 255.0 != value {
                return Err(DataError::NotBytes { at });
            }
            images.push(byte as u8);
        }
    }
    Ok((images, labels))
}

/// The gzip form of `bytes`: the same bytes in every run (no name, no time).
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("writing to memory cannot fail");
    encoder.finish().expect("writing to memory cannot fail")
}

fn header(sides: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0, 0, BYTES, sides.len() as u8];
    for side in sides {
        bytes.extend(side.to_be_bytes());
    }
    bytes
}

fn open(path: &Path) -> Result<File, DataError> {
    File::open(path).map_err(|source| DataError::File { path: path.display().to_string(), source })
}

/// The IDX type code of unsigned bytes: the only one MNIST-like sets use.
const BYTES: u8 = 0x08;
const GZIP: [u8; 2] = [0x1f, 0x8b];

struct Idx {
    what: &'static str,
    sides: Vec<u32>,
    bytes: Vec<u8>,
}

impl Idx {
    fn read(what: &'static str, stream: impl Read) -> Result<Self, DataError> {
        let failed = |source| DataError::Stream { what, source };
        let mut stream = BufReader::with_capacity(1 << 16, stream);
        if stream.fill_buf().map_err(failed)?.starts_with(&GZIP) {
            Self::parse(what, MultiGzDecoder::new(stream))
        } else {
            Self::parse(what, stream)
        }
    }

    fn parse(what: &'static str, mut stream: impl Read) -> Result<Self, DataError> {
        let failed = |source| DataError::Stream { what, source };
        let short = |got: usize, want: u64| DataError::Truncated { what, got: got as u64, want };
        let mut magic = Vec::new();
        stream.by_ref().take(4).read_to_end(&mut magic).map_err(failed)?;
        let magic: [u8; 4] = magic.try_into().map_err(|magic: Vec<u8>| short(magic.len(), 4))?;
        if magic[..3] != [0, 0, BYTES] {
            return Err(DataError::Magic { what, got: magic });
        }
        if !(1..=4).contains(&magic[3]) {
            return Err(DataError::Dimensions { what, got: magic[3], want: "1 to 4" });
        }
        let mut sides = Vec::new();
        let sizes = 4 * u64::from(magic[3]);
        stream.by_ref().take(sizes).read_to_end(&mut sides).map_err(failed)?;
        if (sides.len() as u64) < sizes {
            return Err(short(4 + sides.len(), 4 + sizes));
        }
        let sides: Vec<u32> = sides
            .chunks_exact(4)
            .map(|side| u32::from_be_bytes([side[0], side[1], side[2], side[3]]))
            .collect();
        let values =
            sides.iter().try_fold(1u64, |all, &side| all.checked_mul(side.into())).unwrap_or(u64::MAX);
        if values > VALUES_MAX {
            return Err(DataError::TooLarge { what, got: values, limit: VALUES_MAX });
        }
        let mut bytes = Vec::new();
        // One byte more than announced shows whether anything follows; no bomb can make it more than that.
        stream.take(values + 1).read_to_end(&mut bytes).map_err(failed)?;
        match (bytes.len() as u64).cmp(&values) {
            std::cmp::Ordering::Less => Err(short(bytes.len(), values)),
            std::cmp::Ordering::Greater => Err(DataError::Trailing { what }),
            std::cmp::Ordering::Equal => Ok(Self { what, sides, bytes }),
        }
    }

    fn dimensions(&self, want: &'static str) -> DataError {
        DataError::Dimensions { what: self.what, got: self.sides.len() as u8, want }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair() -> (Vec<u8>, Vec<u8>) {
        let mut images = header(&[2, 2, 3]);
        images.extend(0..12u8);
        let mut labels = header(&[2]);
        labels.extend([7, 9]);
        (images, labels)
    }

    #[test]
    fn plain_and_gzip_read_alike_and_write_back() {
        let (images, labels) = pair();
        let plain = read(&images[..], &labels[..]).unwrap();
        assert_eq!(plain.shape(), [1, 2, 3]);
        assert_eq!(plain.labels(), [7, 9]);
        assert_eq!(plain.input(1)[0], 6.0 / 255.0);
        assert_eq!(read(&gzip(&images)[..], &gzip(&labels)[..]).unwrap(), plain);
        assert_eq!(encode(&plain).unwrap(), (images, labels));
    }

    #[test]
    fn every_byte_survives_the_scaling() {
        let data =
            Dataset::new((0..=255u8).map(|byte| f32::from(byte) / 255.0).collect(), [1, 16, 16], vec![0]);
        let (images, _) = encode(&data.unwrap()).unwrap();
        assert_eq!(images[16..], (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn a_header_that_lies_is_refused_before_memory_is_spent() {
        let (images, labels) = pair();
        let mut huge = header(&[u32::MAX, u32::MAX, u32::MAX]);
        huge.push(0);
        assert!(matches!(read(&huge[..], &labels[..]), Err(DataError::TooLarge { .. })));
        let mut many = header(&[1 << 20, 28, 28]);
        many.push(0);
        assert!(matches!(read(&many[..], &labels[..]), Err(DataError::Truncated { got: 1, .. })));
        let mut long = images.clone();
        long.push(0);
        assert!(matches!(read(&long[..], &labels[..]), Err(DataError::Trailing { what: "images" })));
        let bomb = gzip(&[images, vec![0; 1 << 20]].concat());
        assert!(matches!(read(&bomb[..], &labels[..]), Err(DataError::Trailing { what: "images" })));
    }

    #[test]
    fn corrupt_gzip_wrong_type_and_unpaired_files_say_so() {
        let (images, labels) = pair();
        let mut corrupt = gzip(&images);
        let middle = corrupt.len() / 2;
        corrupt[middle] ^= 0xff;
        assert!(read(&corrupt[..], &labels[..]).is_err());
        let mut floats = images.clone();
        floats[2] = 0x0d;
        assert!(matches!(read(&floats[..], &labels[..]), Err(DataError::Magic { .. })));
        assert!(matches!(read(&labels[..], &labels[..]), Err(DataError::Dimensions { got: 1, .. })));
        let three = [header(&[3]), vec![1, 2, 3]].concat();
        assert!(matches!(read(&images[..], &three[..]), Err(DataError::Count { examples: 2, labels: 3 })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(images: Vec<u8>, labels: Vec<u8>, gz: bool) {
            let images = [vec![0, 0, 8, 3, 0, 0, 0], images].concat();
            let images = if gz { gzip(&images) } else { images };
            let _ = read(&images[..], &labels[..]);
        }
    }
}
