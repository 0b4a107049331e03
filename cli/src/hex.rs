//! Bytes as they stand in JSON documents.

/// Reads at most `most` bytes, with or without `0x`; `None` if it is anything else.
pub fn decode(text: &str, most: usize) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if !digits.len().is_multiple_of(2)
        || digits.len() > 2 * most
        || !digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

/// Writes bytes, with `0x`.
pub fn encode(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("0x");
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn hex_is_read_or_refused() {
        assert_eq!(decode("0x00ff", 2), Some(vec![0, 255]));
        for bad in ["0", "0xzz", "ää", "+1", "000000"] {
            assert_eq!(decode(bad, 2), None, "{bad}");
        }
    }
}
