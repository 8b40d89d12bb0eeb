//! The rows of a CSV file, each with its line. A row that cannot be one costs only its line: a quote that is opened and never
//! closed would swallow the rest of the file, so what a row of several lines has taken is read again from its second line on.

use std::io::{self, BufRead};

use csv::StringRecord;

/// Bytes of a row: what an event may have, with every quote doubled, and room to spare.
const LONGEST: usize = 256 << 10;
/// Bytes that are taken apart at a time.
const STEP: usize = 1 << 20;

const NOT_UTF8: &str = "not UTF-8: save the file as \"CSV UTF-8\", or convert it with iconv";

/// A row, and the line on which it begins, from 1.
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) fields: StringRecord,
}

/// A line that is no row, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoRow {
    pub(super) line: u64,
    pub(super) why: String,
}

/// Reads rows.
pub(super) struct Table<R> {
    text: R,
    delimiter: u8,
    /// Fields of a row: those of the header.
    fields: Option<usize>,
    /// Lines that were read and not taken yet, from `at` on.
    lines: Vec<u8>,
    at: usize,
    /// The line at which `at` stands.
    line: u64,
    ended: bool,
}

impl<R: BufRead> Table<R> {
    pub(super) fn new(text: R) -> Self {
        Self { text, delimiter: b',', fields: None, lines: Vec::new(), at: 0, line: 1, ended: false }
    }

    /// The first row, which names the columns; nothing, if there is none. Without a delimiter, it is the one that parts it into
    /// the most names.
    pub(super) fn header(&mut self, delimiter: Option<u8>) -> io::Result<Option<StringRecord>> {
        self.fill()?;
        let first = self.lines.split(|byte| *byte == b'\n').find(|line| !line.is_empty());
        if first.is_some_and(|first| std::str::from_utf8(first).is_err()) {
            return Err(io::Error::other(format!("line 1: {NOT_UTF8}")));
        }
        let mut best: Option<(u8, StringRecord, usize)> = None;
        let given = delimiter.map(|delimiter| vec![delimiter]);
        for delimiter in given.unwrap_or_else(|| b",;\t".to_vec()) {
            let mut reader = reader(&self.lines, delimiter);
            let mut fields = StringRecord::new();
            if reader.read_record(&mut fields).is_ok_and(|found| found)
                && best.as_ref().is_none_or(|(_, best, _)| best.len() < fields.len())
            {
                let end = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
                best = Some((delimiter, fields, end));
            }
        }
        let Some((delimiter, fields, end)) = best else { return Ok(None) };
        self.delimiter = delimiter;
        self.fields = Some(fields.len());
        self.advance(end);
        Ok(Some(fields))
    }

    /// The next rows, at most so many and at least one, unless the file has ended. A row of several lines that is none for
    /// `is_one` is read again from its second line on.
    pub(super) fn rows(
        &mut self,
        most: usize,
        is_one: impl Fn(&StringRecord) -> bool,
    ) -> io::Result<Vec<Result<Row, NoRow>>> {
        let mut rows = Vec::new();
        while rows.len() < most {
            self.fill()?;
            if self.at == self.lines.len() {
                break;
            }
            let taken = self.take(most - rows.len(), &is_one, &mut rows);
            self.advance(taken);
        }
        Ok(rows)
    }

    /// Takes rows from what was read, and says how many bytes they were.
    fn take(
        &self,
        most: usize,
        is_one: impl Fn(&StringRecord) -> bool,
        rows: &mut Vec<Result<Row, NoRow>>,
    ) -> usize {
        let lines = &self.lines[self.at..];
        let mut reader = reader(lines, self.delimiter);
        let (mut taken, mut line) = (0, self.line);
        for _ in 0..most {
            let mut fields = StringRecord::new();
            let read = reader.read_record(&mut fields);
            let end = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX).min(lines.len());
            let text = &lines[taken..end];
            let begin = taken + text.iter().take_while(|byte| **byte == b'\n').count();
            line += newlines(&lines[taken..begin]);
            let row = match read {
                Ok(false) => return lines.len(),
                Ok(true) if Some(fields.len()) == self.fields => Ok(Row { line, fields }),
                Ok(true) => {
                    let (expected, got) = (self.fields.unwrap_or_default(), fields.len());
                    let remedy = if got > expected {
                        ": put a field that contains the separator in double quotes"
                    } else {
                        ": a separator is missing"
                    };
                    Err(NoRow { line, why: format!("expected {expected} fields, got {got}{remedy}") })
                }
                Err(error) => Err(NoRow { line, why: why(&error) }),
            };
            let text = &lines[begin..end];
            let several = newlines(text.strip_suffix(b"\n").unwrap_or(text)) > 0;
            let quotes =
                if several || end == lines.len() { quotes(text, self.delimiter) } else { Quotes::Closed };
            let is_open = quotes == Quotes::Open;
            if is_open && end == lines.len() && !self.ended && text.len() < LONGEST {
                return taken; // it goes on in what was not read yet
            }
            let is_row = row.as_ref().is_ok_and(|row| quotes == Quotes::Closed && is_one(&row.fields));
            if several && !is_row {
                let why = "a quote opens a field on this line that does not end as it should".into();
                rows.push(Err(NoRow { line, why }));
                return begin + text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1);
            }
            rows.push(if is_open {
                Err(NoRow { line, why: "a quote opens a field on this line and is not closed".into() })
            } else {
                row
            });
            line += newlines(&lines[begin..end]);
            taken = end;
        }
        taken
    }

    /// Reads on until there are enough whole lines.
    fn fill(&mut self) -> io::Result<()> {
        if self.lines.len() - self.at >= LONGEST || self.ended {
            return Ok(());
        }
        self.lines.drain(..self.at);
        self.at = 0;
        while self.lines.len() < STEP {
            if self.text.read_until(b'\n', &mut self.lines)? == 0 {
                self.ended = true;
                break;
            }
        }
        Ok(())
    }

    fn advance(&mut self, bytes: usize) {
        self.line += newlines(&self.lines[self.at..self.at + bytes]);
        self.at += bytes;
    }
}

fn reader(text: &[u8], delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text)
}

fn newlines(text: &[u8]) -> u64 {
    (text.split(|byte| *byte == b'\n').count() - 1) as u64
}

/// What became of the quotes in a row's text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// Each field that begins with one ends with one.
    Closed,
    /// The last one does not end.
    Open,
    /// One ends in the middle of its field: it was another's.
    Torn,
}

fn quotes(text: &[u8], delimiter: u8) -> Quotes {
    let mut state = State::Begin;
    let mut is_torn = false;
    for &byte in text {
        state = match (state, byte) {
            (State::Open, b'"') => State::Closed,
            // A quote twice is one in the text.
            (State::Begin | State::Closed, b'"') | (State::Open, _) => State::Open,
            (_, byte) if byte == delimiter || byte == b'\n' => State::Begin,
            (state, _) => {
                is_torn |= matches!(state, State::Closed);
                State::Bare
            }
        };
    }
    match state {
        State::Open => Quotes::Open,
        _ if is_torn => Quotes::Torn,
        _ => Quotes::Closed,
    }
}

/// Where a field is.
enum State {
    Begin,
    Bare,
    Open,
    Closed,
}

fn why(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => NOT_UTF8.into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines and last fields of rows, and lines that are none.
    fn read(text: &str) -> (Vec<(u64, String)>, Vec<u64>) {
        let mut table = Table::new(text.as_bytes());
        table.header(None).expect("read").expect("a header");
        let (mut rows, mut others) = (Vec::new(), Vec::new());
        loop {
            let read = table.rows(100, |fields| !fields[0].contains('\n')).expect("read");
            if read.is_empty() {
                return (rows, others);
            }
            for row in read {
                match row {
                    Ok(Row { line, fields }) => rows.push((line, fields[fields.len() - 1].to_owned())),
                    Err(NoRow { line, .. }) => others.push(line),
                }
            }
        }
    }

    fn lines(numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, String)> {
        numbers.into_iter().map(|line| (line, "x".to_owned())).collect()
    }

    #[test]
    fn a_quote_that_is_not_closed_costs_its_line() {
        let good = "1,x\n".repeat(100);
        assert_eq!(read(&format!("a,b\n{good}")), (lines(2..102), vec![]));
        assert_eq!(read(&format!("a,b\n2,\"x\n{good}")), (lines(3..103), vec![2]));
        assert_eq!(read(&format!("a,b\n{good}2,\"x")), (lines(2..102), vec![102]));
        assert_eq!(read(&format!("a,b\n{good}2,\"x\n")), (lines(2..102), vec![102]));
        assert_eq!(read(&format!("a,b\n\"2,x\n{good}")), (lines(3..103), vec![2]));
        // It meets the quote of another line.
        assert_eq!(read(&format!("a,b\n2,\"x\n{good}3,\"x\"\n{good}")), (lines(3..204), vec![2]));
        assert_eq!(read(&format!("a,b\n\"2,x\n{good}\"3\",x\n{good}")), (lines(3..204), vec![2]));
        let long = "1,x\n".repeat(400_000);
        let (rows, others) = read(&format!("a,b\n2,\"x\n{long}"));
        assert_eq!((rows.len(), others), (400_000, vec![2]));
    }

    #[test]
    fn a_row_may_have_several_lines() {
        let text = "a,b\n1,\"{\n}\"\n\n2,\"x\n\"\n3,\"\"\"\"\n4,\"y\"";
        let expected =
            [(2, "{\n}"), (5, "x\n"), (7, "\""), (8, "y")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(read(text), (expected.to_vec(), vec![]));
        let many: String = (0..200_000).map(|_| "1,\"{\n}\"\n").collect();
        let (rows, others) = read(&format!("a,b\n{many}"));
        assert_eq!((rows.len(), rows[199_999].0, others), (200_000, 400_000, vec![]));
    }

    #[test]
    fn the_delimiter_is_the_one_that_parts_the_header() {
        for (text, delimiter) in [("a,b;c,d\n", b','), ("a;b\n", b';'), ("a\tb,c\td\n", b'\t'), ("a\n", b',')]
        {
            let mut table = Table::new(text.as_bytes());
            table.header(None).expect("read").expect("a header");
            assert_eq!(table.delimiter, delimiter, "{text}");
        }
        assert!(Table::new(&b""[..]).header(None).expect("read").is_none());
    }
}
