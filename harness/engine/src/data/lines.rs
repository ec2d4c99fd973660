//! Lines of a file, with a bound on what one line may take.

use super::error::DataError;
use super::stream::Stream;

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The bytes without the line end.
    Bytes(Vec<u8>),
    /// A line longer than the limit; it was passed over without being stored.
    TooLong(u64),
}

/// Reads a file line by line.
pub(super) struct Lines {
    stream: Stream,
    max_line_bytes: u64,
}

impl Lines {
    /// The lines of `stream`.
    pub fn new(stream: Stream, max_line_bytes: u64) -> Self {
        Self {
            stream,
            max_line_bytes,
        }
    }

    /// The next line, or `None` at the end.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn next_line(&mut self) -> Result<Option<Line>, DataError> {
        let mut line = Vec::new();
        let mut length = 0u64;
        loop {
            let chunk = self.stream.fill()?;
            if chunk.is_empty() {
                return Ok((length > 0).then(|| self.finish(line, length)));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(chunk.len());
            length += taken as u64;
            if length <= self.max_line_bytes {
                line.extend_from_slice(&chunk[..taken]);
            } else {
                line = Vec::new();
            }
            self.stream.consume(taken + usize::from(end.is_some()))?;
            if end.is_some() {
                return Ok(Some(self.finish(line, length)));
            }
        }
    }

    fn finish(&self, mut line: Vec<u8>, length: u64) -> Line {
        if length > self.max_line_bytes {
            return Line::TooLong(length);
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Line::Bytes(line)
    }
}
