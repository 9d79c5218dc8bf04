//! What holds for every output of an agent's program, for the fuzz target `result_lines`.

use kubeopencode_api::report::{
    AgentReport, MESSAGE_BYTES, Outcome, ReaderSettings, ResultReader, SUMMARY_BYTES,
};
use serde_json::Value;

use super::lines::{Line, Lines, MAX_LINE};
use super::reading::{Printed, Reading, UNKNOWN_EVENT_BYTES};
use super::tail::Tail;

/// The first line is a result reader, the rest what the program prints: in pieces, as a pipe gives it.
///
/// # Panics
/// When bytes are lost or doubled, a line is longer than allowed, a text has no limit, or the report does not survive
/// being written.
pub fn output(bytes: &[u8]) {
    let (reader, output) = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or((&[][..], bytes), |end| (&bytes[..end], &bytes[end + 1..]));
    let reader = serde_json::from_slice::<ResultReader>(reader).ok().filter(|reader| reader.check().is_ok());
    let settings = ReaderSettings {
        reader,
        server: None,
        summary: true,
        idle_seconds: None,
        message_bytes: MESSAGE_BYTES,
    };
    let mut reading = Reading::new(&settings);
    let mut lines = Lines::default();
    let mut passed = Vec::new();
    let mut take = |line: Line<'_>| {
        let (bytes, whole) = match line {
            Line::Whole(bytes) => (bytes, true),
            Line::Piece(bytes) => (bytes, false),
            Line::Shrunk { event, bytes } => {
                assert!(event.len() <= MAX_LINE && bytes > MAX_LINE);
                // what is left out of it is left out here, too
                passed.extend_from_slice(&output[passed.len()..passed.len() + bytes]);
                return read(&mut reading, line, event);
            }
        };
        passed.extend_from_slice(bytes);
        let ends = bytes.iter().position(|byte| *byte == b'\n').is_none_or(|end| end + 1 == bytes.len());
        assert!(ends, "more than one line");
        assert!(!whole || bytes.len() <= MAX_LINE, "a line of {} bytes", bytes.len());
        read(&mut reading, line, bytes);
    };
    // the pieces' lengths come from the bytes themselves
    let mut left = output;
    while let Some(length) = left.first().map(|byte| usize::from(*byte).clamp(1, left.len())) {
        let (piece, rest) = left.split_at(length);
        lines.push(piece, &mut take);
        left = rest;
    }
    lines.finish(&mut take);
    assert_eq!(passed, output);
    for record in output.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
        again(&mut reading, &settings, &record);
    }
    for code in [0, 3] {
        let mut reading = Reading::new(&settings);
        output.split_inclusive(|byte| *byte == b'\n').for_each(|line| drop(reading.line(Line::Whole(line))));
        let (report, exit) = reading.report(code, &Tail::default());
        assert_eq!(exit == 0, report.outcome == Outcome::Completed);
        check(&report);
    }
    check(&reading.report(0, &Tail::default()).0);
}

fn read(reading: &mut Reading<'_>, line: Line<'_>, bytes: &[u8]) {
    match reading.line(line) {
        Printed::AsIs(printed) => assert_eq!(printed, bytes),
        // an event that no rule knows is cut, one that a rule knows is no longer than the event itself says
        Printed::Text(text) => {
            let most = UNKNOWN_EVENT_BYTES.max(bytes.len() * MAX_GROWTH)
                + "error: … (18446744073709551615 bytes)".len();
            assert!(text.len() <= most, "{} bytes printed for {}", text.len(), bytes.len());
        }
        Printed::Nothing => {}
    }
}

/// A line is printed once for each rule that prints, and each message of an error.
const MAX_GROWTH: usize = 2 * 64 * 3;

/// A record that was read is not read a second time, where its events can be told from others.
fn again(reading: &mut Reading<'_>, settings: &ReaderSettings, record: &Value) {
    let Some(session) = settings.reader.as_ref().and_then(|reader| reader.session.as_ref()) else { return };
    let first = reading.record(record);
    let told_apart = |event: &Value| session.identity.iter().any(|pointer| event.pointer(pointer).is_some());
    if super::reading::events(session, record).all(|event| told_apart(&event)) {
        assert_eq!(reading.record(record), [""; 0], "after {first:?}");
    }
}

fn check(report: &AgentReport) {
    for text in [&report.summary, &report.log, &report.error].into_iter().flatten() {
        assert!(text.len() <= SUMMARY_BYTES);
    }
    let message = report.to_message(usize::MAX);
    assert_eq!(AgentReport::parse(&message).as_ref(), Some(report), "{message}");
}

#[cfg(test)]
#[test]
fn holds_for_the_seeds() {
    crate::seeds::each("result_lines", output);
}
