//! What stands before the rows of a text: a byte order mark, and the header of a CSV file.
//!
//! A header belongs to its file, and files of one source may differ in it; so it is read by the reader
//! and travels with every block.

use memchr::memchr;

use super::CsvHeader;
use super::cut::{Cutter, Rule, first_end};

const BOM: &[u8] = b"\xef\xbb\xbf";
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// Drops a byte order mark. `false`: more bytes are needed to tell.
pub(crate) fn skip_bom(cutter: &mut Cutter, ended: bool) -> bool {
    let bytes = cutter.bytes();
    if bytes.starts_with(BOM) {
        cutter.skip(BOM.len());
        return true;
    }
    ended || bytes.len() >= BOM.len() || !BOM.starts_with(bytes)
}

/// Takes the header off the front of the stream and sets the rule by which its rows are cut. `None`:
/// more bytes are needed. A stream without any byte has an empty header.
pub(crate) fn take_header(cutter: &mut Cutter, delimiter: Option<u8>, ended: bool) -> Option<CsvHeader> {
    let bytes = cutter.bytes();
    let line_end = match memchr(b'\n', bytes) {
        Some(i) => i + 1,
        None if ended => bytes.len(),
        None => return None,
    };
    let delimiter = delimiter.unwrap_or_else(|| sniff_delimiter(&bytes[..line_end]));
    let rule = Rule::Quoted { delimiter };
    let end = match first_end(bytes, rule) {
        Some(end) => end,
        None if ended => bytes.len(),
        None => return None,
    };
    let record = &bytes[..end];
    let lines = memchr::memchr_iter(b'\n', record).count() as u64;
    let header = CsvHeader { names: split_names(record, delimiter), delimiter, lines };
    cutter.skip(end);
    cutter.set_rule(rule);
    Some(header)
}

/// The candidate that occurs most often outside quotes; a comma where none occurs.
fn sniff_delimiter(line: &[u8]) -> u8 {
    let mut counts = [0; DELIMITERS.len()];
    let mut quoted = false;
    for &b in line {
        quoted ^= b == b'"';
        if let (false, Some(i)) = (quoted, DELIMITERS.iter().position(|&d| d == b)) {
            counts[i] += 1;
        }
    }
    // `max_by_key` gives the last of equals; reversed, the comma wins a tie.
    let best = (0..DELIMITERS.len()).rev().max_by_key(|&i| counts[i]);
    best.map_or(b',', |i| DELIMITERS[i])
}

fn split_names(record: &[u8], delimiter: u8) -> Vec<String> {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    let record = record.strip_suffix(b"\r").unwrap_or(record);
    let mut names = Vec::new();
    let mut rest = record;
    while !(rest.is_empty() && names.is_empty()) {
        let (name, after) =
            if rest.first() == Some(&b'"') { quoted_name(&rest[1..], delimiter) } else { plain_name(rest, delimiter) };
        names.push(String::from_utf8_lossy(&name).into_owned());
        let Some(after) = after else { break };
        rest = after;
    }
    names
}

/// A field's text, and what follows its delimiter if there is one.
type NameAndRest<'a> = (Vec<u8>, Option<&'a [u8]>);

fn plain_name(text: &[u8], delimiter: u8) -> NameAndRest<'_> {
    match memchr(delimiter, text) {
        Some(i) => (text[..i].to_vec(), Some(&text[i + 1..])),
        None => (text.to_vec(), None),
    }
}

fn quoted_name(mut text: &[u8], delimiter: u8) -> NameAndRest<'_> {
    let mut name = Vec::new();
    loop {
        let Some(quote) = memchr(b'"', text) else {
            name.extend_from_slice(text);
            return (name, None);
        };
        name.extend_from_slice(&text[..quote]);
        text = &text[quote + 1..];
        match text.first() {
            Some(b'"') => {
                name.push(b'"');
                text = &text[1..];
            }
            Some(_) | None => {
                let (after_quote, rest) = plain_name(text, delimiter);
                name.extend_from_slice(&after_quote);
                return (name, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str, delimiter: Option<u8>) -> (Vec<String>, u8, u64) {
        let mut cutter = Cutter::new(Rule::Lines);
        cutter.buffer().extend_from_slice(text.as_bytes());
        assert!(skip_bom(&mut cutter, true));
        let h = take_header(&mut cutter, delimiter, true).expect("the text has ended");
        (h.names, h.delimiter, h.lines)
    }

    fn names(text: &str) -> Vec<String> {
        header(text, None).0
    }

    #[test]
    fn names_are_unquoted() {
        assert_eq!(names("a,b,c\n1,2,3\n"), ["a", "b", "c"]);
        assert_eq!(names("a,\"b, \"\"c\"\"\",\r\n"), ["a", "b, \"c\"", ""]);
        assert_eq!(header("\u{feff}\"two\nlines\",b\nx,y\n", None), (vec!["two\nlines".into(), "b".into()], b',', 2));
        assert_eq!(names("alone"), ["alone"]);
        assert!(names("").is_empty());
    }

    #[test]
    fn the_delimiter_is_the_most_frequent_outside_quotes() {
        assert_eq!(header("a;b;c\n", None).1, b';');
        assert_eq!(header("\"a,b,c\"\td\n", None).1, b'\t');
        assert_eq!(header("a|b\n", None).1, b'|');
        assert_eq!(header("a,b;c\n", None).1, b',');
        assert_eq!(header("a;b;c,d\n", Some(b',')).0, ["a;b;c", "d"]);
    }
}
