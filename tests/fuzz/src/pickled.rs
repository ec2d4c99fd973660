//! Parts of files as `torch.save` writes them, for seeds.

use std::io::{Cursor, Write};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A name that is looked up, `module\nname`.
pub fn global(name: &str) -> Vec<u8> {
    format!("c{name}\n").into_bytes()
}

pub fn word(text: &str) -> Vec<u8> {
    let mut bytes = b"X".to_vec();
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// A tensor that fills the storage `record`.
pub fn tensor(storage: &str, record: &str, shape: &[u8]) -> Vec<u8> {
    let sizes = |sizes: &[u8]| {
        let mut bytes = b"(".to_vec();
        for size in sizes {
            bytes.extend([b'K', *size]);
        }
        bytes.push(b't');
        bytes
    };
    let after = |axis: usize| shape[axis + 1..].iter().product::<u8>();
    let strides: Vec<u8> = (0..shape.len()).map(after).collect();
    let mut bytes = global("torch._utils\n_rebuild_tensor_v2");
    bytes.extend(b"((");
    bytes.extend(word("storage"));
    bytes.extend(global(&format!("torch\n{storage}")));
    bytes.extend(word(record));
    bytes.extend(word("cpu"));
    bytes.extend([b'K', shape.iter().product(), b't', b'Q', b'K', 0]);
    bytes.extend(sizes(shape));
    bytes.extend(sizes(&strides));
    bytes.push(0x89);
    bytes.extend(global("collections\nOrderedDict"));
    bytes.extend(b")RtR");
    bytes
}

/// A zip archive of uncompressed records.
pub fn archive(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in records {
        zip.start_file(*name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
