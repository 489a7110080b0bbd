//! Text of foreign origin, made fit for a label.

/// The longest label value, in bytes.
pub(super) const MAX_VALUE: usize = 256;

/// A text without control characters and of at most `max` bytes, cut at a character. Bytes that are no UTF-8 become
/// U+FFFD.
pub(super) fn clean(bytes: &[u8], max: usize) -> String {
    // Twice the room: what is cut away later is at most removed characters.
    let head = &bytes[..bytes.len().min(max.saturating_mul(2))];
    let mut text = String::with_capacity(head.len().min(max));
    for letter in String::from_utf8_lossy(head).chars().filter(|letter| !letter.is_control()) {
        if text.len() + letter.len_utf8() > max {
            break;
        }
        text.push(letter);
    }
    text.trim().into()
}

/// Replaces `%41` by `A`; a `%` that no two hexadecimal digits follow stays. The values of OTEL_RESOURCE_ATTRIBUTES
/// are encoded so: <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>.
pub(super) fn percent_decode(bytes: &[u8]) -> Vec<u8> {
    decode(bytes, b"%")
}

/// Replaces `\x2d` by `-`, as systemd escapes unit names (systemd-escape(1)).
pub(super) fn unit_decode(bytes: &[u8]) -> Vec<u8> {
    decode(bytes, b"\\x")
}

fn decode(bytes: &[u8], mark: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = rest.strip_prefix(mark).and_then(|after| match after {
            [high, low, tail @ ..] => Some((digit(*high)? << 4 | digit(*low)?, tail)),
            _ => None,
        });
        let (byte, tail) = escaped.unwrap_or((*first, tail));
        out.push(byte);
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Control characters go, lengths hold, odd bytes survive as marks.
    #[test]
    fn cleans() {
        assert_eq!(clean(b"a\x1b[31m\nb\0", 64), "a[31mb");
        assert_eq!(clean("ééé".as_bytes(), 5), "éé");
        assert_eq!(clean(&[0xff; 1000], 9).len(), 9);
        assert_eq!(clean(b"  a b ", 64), "a b");
        assert_eq!(clean(&[b'x'; 10_000_000], 256).len(), 256);
    }

    /// Escapes decode, and what only looks like one stays.
    #[test]
    fn decodes() {
        assert_eq!(percent_decode(b"a%2Cb%zz%4"), b"a,b%zz%4");
        assert_eq!(unit_decode(br"dbus\x2dorg\x"), br"dbus-org\x");
    }
}
