//! Settings that are written as text.

use core::str::FromStr;
use std::path::PathBuf;

use protocol::job::Name;
use serde::{Deserialize, Deserializer};

use crate::core::Hours;

/// Text that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// No size.
    #[error("'{0}' is no size: write for example 512MB, 2GB or 1GiB")]
    Size(String),
    /// No span of hours.
    #[error("'{0}' is no span of hours with an offset from UTC: write for example 22:00-06:00+01:00")]
    Hours(String),
    /// No data set.
    #[error("'{0}' is no data set: write TAG=PATH")]
    Data(String),
    /// No tag.
    #[error("{0}")]
    Tag(#[from] protocol::job::NameError),
}

/// Bytes, written as `512MB` or `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        const UNITS: [(&str, u64); 9] = [
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("TiB", 1 << 40),
            ("kB", 1_000),
            ("KB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("TB", 1_000_000_000_000),
        ];
        let wrong = || TextError::Size(text.to_owned());
        let (number, unit) = UNITS
            .iter()
            .find_map(|(unit, bytes)| text.strip_suffix(unit).map(|number| (number, *bytes)))
            .ok_or_else(wrong)?;
        let number: u64 = number.trim_end().parse().map_err(|_| wrong())?;
        number.checked_mul(unit).filter(|bytes| *bytes > 0).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for ByteSize {
    type Error = TextError;
    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

/// A daily span with an offset from UTC, written as `22:00-06:00+01:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HoursText(pub Hours);

impl TryFrom<String> for HoursText {
    type Error = TextError;
    fn try_from(text: String) -> Result<Self, TextError> {
        parse_hours(&text).map(Self).ok_or(TextError::Hours(text))
    }
}

fn parse_hours(text: &str) -> Option<Hours> {
    const DAY: i64 = 24 * 60;
    let (from, rest) = text.split_once('-')?;
    let at = rest.find(['+', '-'])?;
    let (to, offset) = rest.split_at(at);
    let offset = match offset.split_at(1) {
        ("+", ahead) => minutes(ahead)?,
        (_, behind) => -minutes(behind)?,
    };
    let utc = |minute: i64| (minute - offset).rem_euclid(DAY) as u64;
    Hours::new(utc(minutes(from)?), utc(minutes(to)?))
}

fn minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str, end: i64| {
        let is_two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i64>().ok().filter(|number| is_two && *number < end)
    };
    Some(number(hours, 24)? * 60 + number(minutes, 60)?)
}

/// A data set as a flag: `TAG=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFlag {
    /// What jobs ask for.
    pub tag: Name,
    /// Where it lies.
    pub path: PathBuf,
}

impl FromStr for DataFlag {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let (tag, path) = text.split_once('=').ok_or_else(|| TextError::Data(text.to_owned()))?;
        if path.is_empty() {
            return Err(TextError::Data(text.to_owned()));
        }
        Ok(Self { tag: tag.parse()?, path: path.into() })
    }
}

/// A value that is written as text, or nothing.
pub(super) fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: core::fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use protocol::time::Millis;

    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!("512MB".parse(), Ok(ByteSize(512_000_000)));
        assert_eq!("1 GiB".parse(), Ok(ByteSize(1 << 30)));
        for wrong in ["", "12", "MB", "-1MB", "0GB", "1.5GB", "99999999999TB"] {
            assert_eq!(wrong.parse::<ByteSize>(), Err(TextError::Size(wrong.to_owned())), "{wrong}");
        }
    }

    #[test]
    fn hours_are_read_with_their_offset() {
        let at = |text: &str, hour: u64| {
            HoursText::try_from(text.to_owned()).unwrap().0.contains(Millis(hour * 3_600_000))
        };
        assert!(at("22:00-06:00+00:00", 23) && !at("22:00-06:00+00:00", 6));
        assert!(at("22:00-06:00+01:00", 21) && !at("22:00-06:00+01:00", 5));
        assert!(at("08:00-17:00-05:30", 14) && !at("08:00-17:00-05:30", 13));
        for wrong in ["", "22-06", "22:00-06:00", "24:00-06:00+00:00", "8:00-9:00+00:00", "08:00-08:00+00:00"]
        {
            assert!(HoursText::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn data_flags_are_read() {
        let flag: DataFlag = "digits=some/where=else".parse().unwrap();
        assert_eq!((flag.tag.as_str(), flag.path), ("digits", PathBuf::from("some/where=else")));
        assert!("digits".parse::<DataFlag>().is_err());
        assert!("digits=".parse::<DataFlag>().is_err());
        assert!("a b=x".parse::<DataFlag>().is_err());
    }
}
