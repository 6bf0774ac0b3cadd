//! To which trace an event belongs: the trace context of the W3C, beside the payload as metadata. Whoever emits says it, in the
//! variable of the environment that programs hand on; whoever delivers says it to the other side.
//!
//! Pure. Always holds: what is not of the form counts as nothing, and never costs an event.

use super::Metadata;

/// The key of the metadata, and the header of HTTP.
pub const TRACEPARENT: &str = "traceparent";

/// The variable of the environment.
pub const TRACEPARENT_VARIABLE: &str = "TRACEPARENT";

/// Longer ones, of versions to come, are not taken. Bytes.
const BYTES_MAX: usize = 128;

/// Bytes of the form that is known; later versions may have more behind it.
const KNOWN_BYTES: usize = 55;

/// Whether a text is a trace context, `00-` and 32, 16 and 2 hexadecimal digits: version, trace, span and flags. Neither trace nor
/// span are all zero.
pub fn is_traceparent(text: &str) -> bool {
    let is_hexadecimal = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_known = |part: &str, digits: usize| is_hexadecimal(part, digits) && part.bytes().any(|byte| byte != b'0');
    let mut parts = text.splitn(5, '-');
    let [version, trace, span, flags] = [(); 4].map(|()| parts.next().unwrap_or_default());
    let is_whole = match version {
        "ff" => false,
        "00" => text.len() == KNOWN_BYTES,
        _ => text.len() <= BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()),
    };
    is_whole && is_hexadecimal(version, 2) && is_known(trace, 32) && is_known(span, 16) && is_hexadecimal(flags, 2)
}

/// Says to which trace an event belongs that does not say it itself. Gives false where the text is no trace context.
pub fn note_trace(metadata: &mut Metadata, text: &str) -> bool {
    let is_one = is_traceparent(text);
    if is_one {
        metadata.entry(TRACEPARENT.to_owned()).or_insert_with(|| text.to_owned());
    }
    is_one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_context_is_what_the_w3c_says_and_nothing_else() {
        let known = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for right in [known, &known.replace("00-4", "cc-4"), &format!("{}-what-will-be", known.replace("00-4", "cc-4"))]
        {
            assert!(is_traceparent(right), "{right}");
        }
        for wrong in [
            "",
            "00",
            &known.to_uppercase(),
            &known.replace("00-4", "ff-4"),
            &known.replace("00-4", "0-4"),
            &format!("{known}-more"),
            &format!("{known} "),
            &known.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &known.replace("00f067aa0ba902b7", "0000000000000000"),
            &known.replace("-01", "-0g"),
            &known.replace('-', "_"),
            &format!("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-{}", "x".repeat(128)),
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
        ] {
            assert!(!is_traceparent(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_an_event_says_itself_counts() {
        let [own, other] = [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-11112f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ];
        let mut metadata = Metadata::new();
        assert!(!note_trace(&mut metadata, "none") && metadata.is_empty());
        assert!(note_trace(&mut metadata, own) && note_trace(&mut metadata, other));
        assert_eq!(metadata[TRACEPARENT], own);
    }
}
