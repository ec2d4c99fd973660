//! Parquet files written here, whole and damaged.

use std::sync::Arc;

use ::parquet::basic::{Compression, Encoding};
use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::{WriterProperties, WriterVersion};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::*;

/// A file with columns `id` and `text`; the rows are split into row groups of `group` rows.
fn write(path: &Path, rows: &[Option<&[u8]>], group: usize, properties: WriterProperties) {
    let schema = "message rows { required int64 id; optional binary text (STRING); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for (g, part) in rows.chunks(group).enumerate() {
        let mut group_writer = writer.next_row_group().unwrap();
        let ids: Vec<i64> = (0..part.len()).map(|i| (g * group + i) as i64).collect();
        let mut column = group_writer.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(&ids, None, None)
            .unwrap();
        column.close().unwrap();
        let levels: Vec<i16> = part.iter().map(|text| i16::from(text.is_some())).collect();
        let texts: Vec<ByteArray> = part.iter().flatten().map(|t| t.to_vec().into()).collect();
        let mut column = group_writer.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&texts, Some(&levels), None)
            .unwrap();
        column.close().unwrap();
        group_writer.close().unwrap();
    }
    writer.close().unwrap();
}

/// A zstd-compressed file of three rows a row group.
pub(super) fn written(dir: &Path, name: &str, texts: &[Option<&str>]) -> PathBuf {
    let rows: Vec<Option<&[u8]>> = texts.iter().map(|t| t.map(str::as_bytes)).collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(Default::default()))
        .build();
    let path = dir.join(name);
    write(&path, &rows, 3, properties);
    path
}

fn texts(n: usize) -> Vec<String> {
    (0..n)
        .map(|i| format!("document {i} of {} é", "word ".repeat(i % 7)))
        .collect()
}

fn said(path: &Path) -> String {
    let error = read(path, DataOptions::default()).1;
    error.map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn every_codec_encoding_and_page_version_gives_the_rows_back() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts(100);
    let rows: Vec<Option<&[u8]>> = texts.iter().map(|t| Some(t.as_bytes())).collect();
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(Default::default()),
        Compression::LZ4_RAW,
        Compression::LZ4,
        Compression::BROTLI(Default::default()),
    ];
    let encodings = [
        None, // a dictionary
        Some(Encoding::PLAIN),
        Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        Some(Encoding::DELTA_BYTE_ARRAY),
    ];
    let versions = [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0];
    for codec in codecs {
        for encoding in encodings {
            for version in versions {
                let builder = WriterProperties::builder()
                    .set_compression(codec)
                    .set_writer_version(version)
                    .set_data_page_row_count_limit(9)
                    .set_write_batch_size(4);
                let properties = match encoding {
                    Some(encoding) => builder
                        .set_dictionary_enabled(false)
                        .set_encoding(encoding)
                        .set_column_encoding("id".into(), Encoding::PLAIN),
                    None => builder,
                };
                let path = dir.path().join("a.parquet");
                write(&path, &rows, 33, properties.build());
                let (found, error, counts) = read(&path, DataOptions::default());
                assert!(
                    error.is_none(),
                    "{codec} {encoding:?} {version:?}: {error:?}"
                );
                assert!(
                    found.iter().map(|d| &d.text).eq(&texts),
                    "{codec} {encoding:?}"
                );
                assert_eq!((counts.rows, counts.documents), (100, 100));
            }
        }
    }
}

#[test]
fn nulls_long_values_and_broken_text_are_located_by_row() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(5000);
    let rows: [Option<&[u8]>; 7] = [
        Some(b"one"),
        None,
        Some(b""),
        Some(b"two"),
        Some(long.as_bytes()),
        Some(b"ab\xff"),
        Some(b"three"),
    ];
    let path = dir.path().join("a.parquet");
    write(&path, &rows, 2, WriterProperties::new());
    let options = DataOptions {
        max_line_bytes: 1000,
        max_bad_rows: 0.5,
        ..Default::default()
    };
    let (found, error, counts) = read(&path, options.clone());
    assert!(error.is_none(), "{error:?}");
    let texts: Vec<&str> = found.iter().map(|d| d.text.as_str()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert_eq!((counts.rows, counts.empty, counts.bad_rows), (7, 1, 3));
    let bad: Vec<String> = counts.examples.iter().map(ToString::to_string).collect();
    assert!(
        bad[0].ends_with("a.parquet:2: column \"text\" is null, not text"),
        "{bad:?}"
    );
    assert!(
        bad[1].ends_with(":5: a value of 5000 bytes, the limit is 1000"),
        "{bad:?}"
    );
    assert!(
        bad[2].ends_with(":6: not UTF-8 at byte 2 of the value"),
        "{bad:?}"
    );
    let limited = DataOptions {
        max_bad_rows: 0.1,
        ..options
    };
    let text = read(&path, limited)
        .1
        .map(|e| e.to_string())
        .unwrap_or_default();
    assert!(text.contains("3 of 7 rows are bad, 0 allowed"), "{text}");
}

#[test]
fn a_missing_column_names_those_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), "a.parquet", &[Some("one")]);
    let with = |field: &str| {
        let options = DataOptions {
            field: field.into(),
            ..Default::default()
        };
        read(&path, options)
            .1
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    let text = with("body");
    assert!(
        text.contains("no column \"body\"; the file has [\"id\", \"text\"]"),
        "{text}"
    );
    let text = with("id");
    assert!(text.contains("column \"id\" is INT64, not text"), "{text}");
}

#[test]
fn cut_and_oversized_footers_are_refused_before_parsing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(written(dir.path(), "a.parquet", &[Some("one"), None])).unwrap();
    let cut = file(dir.path(), "cut.parquet", &whole[..whole.len() - 20]);
    let text = said(&cut);
    assert!(text.contains("does not end as a parquet file"), "{text}");
    let mut long = whole.clone();
    let at = long.len() - 8;
    long[at..at + 4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
    let text = said(&file(dir.path(), "long.parquet", &long));
    let expected = format!("a footer of 2147483647 bytes in a file of {}", whole.len());
    assert!(text.contains(&expected), "{text}");
    let text = said(&file(dir.path(), "head.parquet", b"PAR1"));
    assert!(text.contains("a file of 4 bytes is none"), "{text}");
}

#[test]
fn every_flipped_byte_ends_in_rows_or_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts(40);
    let rows: Vec<Option<&[u8]>> = texts.iter().map(|t| Some(t.as_bytes())).collect();
    for (name, encoding) in [
        ("plain", Encoding::PLAIN),
        ("delta", Encoding::DELTA_LENGTH_BYTE_ARRAY),
    ] {
        let path = dir.path().join(format!("{name}.parquet"));
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(false)
            .set_column_encoding("text".into(), encoding)
            .build();
        write(&path, &rows, 20, properties);
        let whole = std::fs::read(&path).unwrap();
        let mut errors = 0;
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            let path = file(dir.path(), "flipped.parquet", &bytes);
            let (found, error, counts) = read(&path, DataOptions::default());
            assert!(found.len() <= 40 || error.is_some(), "byte {at}");
            assert!(counts.rows <= 1 << 20, "byte {at}: {} rows", counts.rows);
            errors += usize::from(error.is_some());
        }
        assert!(errors > whole.len() / 10, "{errors} of {}", whole.len());
    }
}

#[test]
fn pages_that_expand_beyond_reason_are_refused_before_they_are_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let text = "a".repeat(1 << 20);
    let rows: Vec<Option<&[u8]>> = (0..40).map(|_| Some(text.as_bytes())).collect();
    let path = dir.path().join("bomb.parquet");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(Default::default()))
        .set_dictionary_enabled(false)
        .build();
    write(&path, &rows, 40, properties);
    let (found, error, _) = read(&path, DataOptions::default());
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(found.len(), 0);
    assert!(
        text.contains("row group 0: expands more than 300-fold"),
        "{text}"
    );
}

#[test]
fn a_gzip_page_that_unpacks_to_more_than_it_promises_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = "b".repeat(20_000);
    let path = dir.path().join("a.parquet");
    let properties = WriterProperties::builder()
        .set_compression(Compression::GZIP(Default::default()))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(::parquet::file::properties::EnabledStatistics::None)
        .build();
    write(&path, &[Some(text.as_bytes())], 1, properties);
    let mut bytes = std::fs::read(&path).unwrap();
    // The size in the header of the text's page, written as a zigzag varint of three bytes.
    let varint = |n: u32| {
        [
            (n & 0x7f) as u8 | 0x80,
            ((n >> 7) & 0x7f) as u8 | 0x80,
            (n >> 14) as u8,
        ]
    };
    let levels = 4 + 2;
    let size = varint(2 * (levels + 4 + text.len() as u32));
    let at = bytes.windows(3).position(|window| window == size).unwrap();
    bytes[at..at + 3].copy_from_slice(&varint(2 * 10_000));
    let text = said(&file(dir.path(), "lie.parquet", &bytes));
    assert!(
        text.contains("more than the 10000 bytes its header promises"),
        "{text}"
    );
}
