//! Files of documents.

use std::{io::Write, path::Path};

use flate2::{Compression, write::GzEncoder};
use harness_engine::data::{DataOptions, Document, Documents};

use crate::scratch;

/// All documents of a file, or why it is not read. Every row is accounted for.
fn read(path: &Path) -> Result<Vec<Document>, String> {
    let options = DataOptions {
        max_bad_rows: 1.0,
        max_line_bytes: 1024,
        ..DataOptions::default()
    };
    let mut documents = Documents::open(&[path.to_owned()], options).map_err(|e| e.to_string())?;
    let mut read = Vec::new();
    for document in &mut documents {
        let document = document.map_err(|error| error.to_string())?;
        assert!(!document.text.trim().is_empty());
        read.push(document);
    }
    let counts = documents.counts();
    assert_eq!(counts.documents, read.len() as u64);
    let accounted = counts.bad_rows + counts.empty + counts.skipped + counts.documents;
    assert_eq!(counts.rows, accounted);
    Ok(read)
}

/// Lines, the first byte says of what: packed or not, they hold the same documents.
pub fn lines(data: &[u8]) {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let layout = if first % 2 == 0 { "jsonl" } else { "txt" };
    let plain = read(&scratch::file(&format!("d.{layout}"), data));
    // A file that begins like an archive is refused by its name, and is none when it is packed.
    let Ok(plain) = plain else { return };
    let packed = if first % 4 < 2 {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(data).expect("memory takes everything");
        let bytes = gzip.finish().expect("memory takes everything");
        read(&scratch::file(&format!("d.{layout}.gz"), &bytes))
    } else {
        let bytes = zstd::encode_all(data, 1).expect("memory takes everything");
        read(&scratch::file(&format!("d.{layout}.zst"), &bytes))
    };
    assert_eq!(packed, Ok(plain));
}

/// Damaged archives.
pub fn archives(data: &[u8]) {
    let name = match data.first() {
        Some(0x1f) => "d.jsonl.gz",
        _ => "d.txt.zst",
    };
    let _ = read(&scratch::file(name, data));
}

/// A column of a parquet file.
pub fn parquet(data: &[u8]) {
    let _ = read(&scratch::file("d.parquet", data));
}

/// Inputs to begin with.
pub mod seeds {
    use std::{io::Write, sync::Arc};

    use flate2::{Compression, write::GzEncoder};
    use parquet::{
        basic::{Compression as Codec, Encoding},
        data_type::{ByteArray, ByteArrayType, Int64Type},
        file::{
            properties::{WriterProperties, WriterVersion},
            writer::SerializedFileWriter,
        },
        schema::parser::parse_message_type,
    };

    const ROWS: &[u8] =
        b"{\"text\": \"one\", \"label\": 1}\n\n{\"text\": \"\"}\nnot json\r\n{\"text\": 3}\n";

    pub fn lines() -> Vec<Vec<u8>> {
        let with = |first: u8, rest: &[u8]| [&[first][..], rest].concat();
        vec![
            with(0, ROWS),
            with(2, ROWS),
            with(1, b"one\ntwo\n\nthree\n"),
            with(3, b"one\r\n\r\ntwo \xff\n"),
            with(0, b"\xef\xbb\xbf{\"text\": \"a\\u0000\"}"),
        ]
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(data).unwrap();
        gzip.finish().unwrap()
    }

    pub fn archives() -> Vec<Vec<u8>> {
        let one = gzip(ROWS);
        let zstd = zstd::encode_all(ROWS, 3).unwrap();
        vec![
            [&one[..], &one[..]].concat(),
            one[..one.len() / 2].to_vec(),
            one,
            gzip(&[b'a'; 4096]),
            [&zstd[..], &zstd[..]].concat(),
            zstd[..zstd.len() / 2].to_vec(),
            zstd,
        ]
    }

    /// Columns `id` and `text` of three rows, the second without a text, in two row groups.
    fn rows(properties: WriterProperties) -> Vec<u8> {
        let schema = "message rows { required int64 id; optional binary text (STRING); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut file = Vec::new();
        let mut writer =
            SerializedFileWriter::new(&mut file, schema, Arc::new(properties)).unwrap();
        let groups: [&[Option<&str>]; 2] = [&[Some("one"), None], &[Some("two é")]];
        for texts in groups {
            let mut group = writer.next_row_group().unwrap();
            let ids: Vec<i64> = (0..texts.len() as i64).collect();
            let mut column = group.next_column().unwrap().unwrap();
            let numbers = column.typed::<Int64Type>();
            numbers.write_batch(&ids, None, None).unwrap();
            column.close().unwrap();
            let levels: Vec<i16> = texts.iter().map(|text| text.is_some().into()).collect();
            let texts: Vec<ByteArray> = texts.iter().flatten().map(|&text| text.into()).collect();
            let mut column = group.next_column().unwrap().unwrap();
            let words = column.typed::<ByteArrayType>();
            words.write_batch(&texts, Some(&levels), None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.close().unwrap();
        file
    }

    pub fn parquet() -> Vec<Vec<u8>> {
        let with = |codec: Codec, version: WriterVersion, encoding: Option<Encoding>| {
            let mut properties = WriterProperties::builder()
                .set_compression(codec)
                .set_writer_version(version);
            if let Some(encoding) = encoding {
                properties = properties
                    .set_dictionary_enabled(false)
                    .set_column_encoding("text".into(), encoding);
            }
            rows(properties.build())
        };
        let (one, two) = (WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0);
        vec![
            with(Codec::UNCOMPRESSED, one, None),
            with(Codec::UNCOMPRESSED, two, Some(Encoding::DELTA_BYTE_ARRAY)),
            with(Codec::SNAPPY, one, Some(Encoding::DELTA_LENGTH_BYTE_ARRAY)),
            with(Codec::ZSTD(Default::default()), two, None),
            with(Codec::GZIP(Default::default()), one, Some(Encoding::PLAIN)),
            with(Codec::LZ4_RAW, two, Some(Encoding::PLAIN)),
            b"PAR1\0\0\0\0PAR1".to_vec(),
        ]
    }

    #[test]
    fn every_file_of_rows_is_read() {
        for (i, seed) in parquet().iter().enumerate() {
            let path = crate::scratch::file("seed.parquet", seed);
            match (super::read(&path), seed.len() > 16) {
                (Ok(documents), true) => assert_eq!(documents.len(), 2, "{i}"),
                (Err(error), true) => panic!("{i}: {error}"),
                (read, false) => assert!(read.is_err()),
            }
        }
    }
}
