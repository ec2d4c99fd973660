//! Records of JSON: the values of an array, or objects one after the other, however they are spread
//! over lines.

use super::error::DataError;
use super::lines::Line;
use super::stream::Stream;

/// How the records of a file follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sequence {
    /// The elements of one array.
    Array,
    /// Objects with nothing but white space between them.
    Objects,
}

/// Reads a file of JSON record by record. A record is cut out by its brackets and strings alone, so
/// that no more than one of them is in memory.
pub(super) struct JsonRecords {
    stream: Stream,
    sequence: Sequence,
    max_value_bytes: u64,
    /// Records given out.
    records: u64,
    has_ended: bool,
}

impl JsonRecords {
    /// The records of `stream`.
    pub fn new(stream: Stream, sequence: Sequence, max_value_bytes: u64) -> Self {
        Self {
            stream,
            sequence,
            max_value_bytes,
            records: 0,
            has_ended: false,
        }
    }

    /// The bytes of the next record, or `None` after the last.
    ///
    /// # Errors
    /// [`DataError::Format`] where brackets, commas or the end of the file are not where JSON has
    /// them; those of the stream.
    pub fn next_record(&mut self) -> Result<Option<Line>, DataError> {
        if self.has_ended || !self.is_at_record()? {
            self.has_ended = true;
            return Ok(None);
        }
        self.records += 1;
        self.record().map(Some)
    }

    /// Passes over what stands between records. False after the last of them.
    fn is_at_record(&mut self) -> Result<bool, DataError> {
        let next = self.skip_space()?;
        match (self.sequence, next, self.records) {
            (Sequence::Objects, None, _) => Ok(false),
            (Sequence::Objects, Some(b'{'), _) => Ok(true),
            (Sequence::Array, Some(b'['), 0) => {
                self.stream.consume(1)?;
                match self.skip_space()? {
                    Some(b']') => self.end_of_array(),
                    Some(_) => Ok(true),
                    None => Err(self.ends_early()),
                }
            }
            (Sequence::Array, Some(b','), 1..) => {
                self.stream.consume(1)?;
                match self.skip_space()? {
                    Some(b']' | b',') => Err(self.misplaced("a comma has no record after it")),
                    Some(_) => Ok(true),
                    None => Err(self.ends_early()),
                }
            }
            (Sequence::Array, Some(b']'), _) => self.end_of_array(),
            (_, None, _) => Err(self.ends_early()),
            (Sequence::Array, ..) => Err(self.misplaced("no comma follows")),
            (Sequence::Objects, ..) => Err(self.misplaced("what follows is no JSON object")),
        }
    }

    fn end_of_array(&mut self) -> Result<bool, DataError> {
        self.stream.consume(1)?;
        match self.skip_space()? {
            None => Ok(false),
            Some(_) => Err(self.misplaced("text follows the end of the array")),
        }
    }

    fn record(&mut self) -> Result<Line, DataError> {
        let mut extent = Extent::default();
        let (mut record, mut length) = (Vec::new(), 0u64);
        loop {
            let chunk = self.stream.fill()?;
            if chunk.is_empty() {
                return match extent.is_open() {
                    true => Err(self.ends_early()),
                    false => Ok(self.finish(record, length)),
                };
            }
            let end = extent.end_in(chunk);
            let taken = end.unwrap_or(chunk.len());
            length += taken as u64;
            if length <= self.max_value_bytes {
                record.extend_from_slice(&chunk[..taken]);
            } else {
                record = Vec::new();
            }
            self.stream.consume(taken)?;
            if end.is_some() {
                return Ok(self.finish(record, length));
            }
        }
    }

    fn finish(&self, record: Vec<u8>, length: u64) -> Line {
        match length > self.max_value_bytes {
            true => Line::TooLong(length),
            false => Line::Bytes(record),
        }
    }

    /// The next byte that is no white space, not passed over.
    fn skip_space(&mut self) -> Result<Option<u8>, DataError> {
        loop {
            let chunk = self.stream.fill()?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let space = chunk.iter().position(|byte| !byte.is_ascii_whitespace());
            let next = space.map(|at| chunk[at]);
            let passed = space.unwrap_or(chunk.len());
            self.stream.consume(passed)?;
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    fn ends_early(&self) -> DataError {
        self.misplaced("the file ends before its JSON does (hint: the download is incomplete)")
    }

    fn misplaced(&self, what: &str) -> DataError {
        let name = match self.sequence {
            Sequence::Array => "a JSON array",
            Sequence::Objects => "JSON objects",
        };
        DataError::Format {
            path: self.stream.path().to_owned(),
            detail: format!("{name}: after record {}: {what}", self.records),
        }
    }
}

/// Where a JSON value ends, told byte by byte.
#[derive(Debug, Default)]
pub(super) struct Extent {
    depth: u64,
    in_string: bool,
    is_escaped: bool,
    has_begun: bool,
}

impl Extent {
    /// How many bytes of `chunk` belong to the value, where it ends in it. A number or word ends
    /// before the byte that follows it.
    fn end_in(&mut self, chunk: &[u8]) -> Option<usize> {
        chunk.iter().enumerate().find_map(|(at, byte)| {
            let is_in_word = self.has_begun && !self.is_open();
            if is_in_word && (byte.is_ascii_whitespace() || b",]}".contains(byte)) {
                return Some(at);
            }
            self.step(*byte).then_some(at + 1)
        })
    }

    /// Takes a byte. True when it is the last of a string, list or object.
    pub fn step(&mut self, byte: u8) -> bool {
        self.has_begun = true;
        if self.in_string {
            let closes = byte == b'"' && !self.is_escaped;
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            self.in_string = !closes;
            return closes && self.depth == 0;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }

    /// Whether a bracket or a string is open.
    pub fn is_open(&self) -> bool {
        self.depth > 0 || self.in_string
    }

    /// Whether a string is open.
    pub fn is_in_string(&self) -> bool {
        self.in_string
    }
}
