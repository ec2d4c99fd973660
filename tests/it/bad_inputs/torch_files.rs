//! Rows 27 to 29: files of `torch.save`, which are programs. They are read and never run.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::json;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::support::{SAE_WEIGHTS, bench, parts, refused, sae, says, sound_table, span, table};
use crate::support::succeed;

/// A tensor of the embedded SAE in the file of another layout: its name there, its shape and
/// strides, and its bytes.
struct Stored {
    name: &'static str,
    shape: Vec<u32>,
    stride: Vec<u32>,
    bytes: Vec<u8>,
}

impl Stored {
    fn len(&self) -> u32 {
        self.bytes.len() as u32 / 2
    }
}

/// An SAE of layout dictionary_learning with the weights of the embedded one; its matrices are
/// transposed by their strides.
struct TorchSae {
    dir: tempfile::TempDir,
    set: PathBuf,
    file: PathBuf,
    tensors: Vec<Stored>,
}

impl TorchSae {
    fn new() -> TorchSae {
        let dir = tempfile::tempdir().unwrap();
        let (set, sae) = sae(dir.path());
        let (header, data) = parts(&sae.join(SAE_WEIGHTS));
        let stored = |name, from: &str, shape: &[u32], stride: &[u32]| Stored {
            name,
            shape: shape.to_vec(),
            stride: stride.to_vec(),
            bytes: data[span(&header, from)].to_vec(),
        };
        let tensors = vec![
            stored("encoder.weight", "W_enc", &[208, 128], &[1, 208]),
            stored("encoder.bias", "b_enc", &[208], &[1]),
            stored("decoder.weight", "W_dec", &[128, 208], &[1, 128]),
            stored("b_dec", "b_dec", &[128], &[1]),
        ];
        fs::remove_file(sae.join(SAE_WEIGHTS)).unwrap();
        fs::remove_file(sae.join("cfg.json")).unwrap();
        let config = json!({
            "trainer": {"dict_class": "AutoEncoderTopK", "activation_dim": 128, "dict_size": 208, "k": 8, "layer": 1,
                "lm_name": "dream", "submodule_name": "resid_post_layer_1"},
            "buffer": {"io": "out"},
        });
        fs::write(sae.join("config.json"), config.to_string()).unwrap();
        TorchSae {
            set,
            file: sae.join("ae.pt"),
            dir,
            tensors,
        }
    }

    /// Writes the file with this program in the place of the sound one.
    fn write(&self, program: &[u8], more: &[(&str, &[u8])], method: CompressionMethod) {
        let storages: Vec<&[u8]> = self.tensors.iter().map(|t| &*t.bytes).collect();
        archive(&self.file, program, more, &storages, method);
    }

    fn sound(&self) -> Vec<u8> {
        program(&self.tensors, "torch\nBFloat16Storage")
    }

    /// What a bench says of the file with this program.
    fn said(&self, program: &[u8]) -> String {
        self.write(program, &[], CompressionMethod::Stored);
        self.refused()
    }

    fn refused(&self) -> String {
        refused(&mut bench(self.dir.path(), &self.set))
    }
}

/// Writes an archive as `torch.save` does, with these storages.
pub fn archive(
    path: &Path,
    program: &[u8],
    more: &[(&str, &[u8])],
    storages: &[&[u8]],
    method: CompressionMethod,
) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    let options = SimpleFileOptions::default().compression_method(method);
    let mut record = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("ae/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    };
    record("data.pkl", program);
    for (name, bytes) in more {
        record(name, bytes);
    }
    for (i, bytes) in storages.iter().enumerate() {
        record(&format!("data/{i}"), bytes);
    }
    zip.finish().unwrap();
}

pub fn text(text: &str) -> Vec<u8> {
    [
        b"X",
        &(text.len() as u32).to_le_bytes()[..],
        text.as_bytes(),
    ]
    .concat()
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    let each = numbers
        .iter()
        .flat_map(|n| [b"J", &n.to_le_bytes()[..]].concat());
    [b"(".to_vec(), each.collect(), b"t".to_vec()].concat()
}

/// A tensor on a storage of `len` numbers.
pub fn tensor(i: usize, storage: &str, len: u32, shape: &[u32], stride: &[u32]) -> Vec<u8> {
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        format!("c{storage}\n").into_bytes(),
        text(&i.to_string()),
        text("cpu"),
        [b"J", &len.to_le_bytes()[..], b"tQK\0"].concat(),
        numbers(shape),
        numbers(stride),
        b"\x89ccollections\nOrderedDict\n)RtR".to_vec(),
    ]
    .concat()
}

/// The pickle of a dictionary of tensors, as `torch.save` writes it.
fn program(tensors: &[Stored], storage: &str) -> Vec<u8> {
    let items = tensors.iter().enumerate().flat_map(|(i, t)| {
        [
            text(t.name),
            tensor(i, storage, t.len(), &t.shape, &t.stride),
        ]
        .concat()
    });
    [b"\x80\x02}(".to_vec(), items.collect(), b"u.".to_vec()].concat()
}

/// Row 27: a pickle that calls `os.system`. It is refused by the name of what it asks for, and
/// nothing is executed; the sound file computes what its safetensors twin does.
#[test]
fn row_27_a_pickle_is_not_executed() {
    let sae = TorchSae::new();
    sae.write(
        &sae.sound(),
        &[("byteorder", b"little")],
        CompressionMethod::Stored,
    );
    succeed(&mut bench(sae.dir.path(), &sae.set));
    assert_eq!(table(sae.dir.path()), sound_table(500));

    let flag = sae.dir.path().join("executed");
    let shell = format!("touch {}", flag.display());
    let calls = |module: &str, name: &str| {
        let call = [
            format!("c{module}\n{name}\n(").into_bytes(),
            text(&shell),
            b"tR".to_vec(),
        ];
        [b"\x80\x02".to_vec(), call.concat(), b".".to_vec()].concat()
    };
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("subprocess", "run"),
    ] {
        let said = sae.said(&calls(module, name));
        says(
            &said,
            &[
                &format!("`{module}.{name}`"),
                "nothing was executed",
                "ae.pt",
            ],
        );
    }
    // Hidden behind a sound dictionary, and by the newer way of naming a global.
    let sound = sae.sound();
    let call = calls("os", "system");
    let (before, call) = (&sound[..sound.len() - 2], &call[2..call.len() - 1]);
    let hidden = [before, &text("x"), call, b"u."].concat();
    says(&sae.said(&hidden), &["`os.system`", "nothing was executed"]);
    says(
        &sae.said(b"\x80\x04\x8c\x05posix\x8c\x06system\x93."),
        &["`posix.system`"],
    );
    // Names from outside do not reach a terminal as they are.
    says(
        &sae.said(b"\x80\x02cos\x1b[31m\nsystem\n."),
        &["`os?[31m.system`"],
    );
    assert!(!flag.exists());
}

/// Row 28: archives that expand, pickles that nest or never end, tensors larger than their storage,
/// quantised and sparse tensors, another byte order: each is refused by what it is, with the limit
/// where there is one.
#[test]
fn row_28_archives_and_pickles_that_are_not_plain() {
    let sae = TorchSae::new();
    let sound = sae.sound();
    // A bomb: 64 MB of zeros in some KB.
    sae.write(
        &sound,
        &[("data/9", &vec![0; 64 << 20])],
        CompressionMethod::Deflated,
    );
    says(
        &sae.refused(),
        &["is compressed, which torch.save never does"],
    );
    let deep = [b"\x80\x02".to_vec(), vec![b'('; 100_000]].concat();
    says(&sae.said(&deep), &["nests deeper than 4096"]);
    let long = [b"\x80\x02".to_vec(), b"}0".repeat(150_000), b".".to_vec()].concat();
    says(&sae.said(&long), &["more than 200000 instructions"]);
    says(&sae.said(&vec![b'N'; 2 << 20]), &["limit 1048576"]);
    // Lists of lists of the same list: a thousand bytes that stand for 2^100 values.
    let doubling = b"](h\0h\0eq\0".repeat(100);
    let doubling = [b"\x80\x02]q\0".to_vec(), doubling, b".".to_vec()].concat();
    says(&sae.said(&doubling), &["no dictionary of tensors"]);
    let one = |storage: &str, len: u32, shape: &[u32], stride: &[u32]| {
        let item = [text("b_dec"), tensor(0, storage, len, shape, stride)].concat();
        [b"\x80\x02}(".to_vec(), item, b"u.".to_vec()].concat()
    };
    let expanded = one("torch\nFloatStorage", 4, &[1 << 20, 1 << 20], &[0, 0]);
    says(
        &sae.said(&expanded),
        &["[1048576, 1048576]", "expands a storage of 4"],
    );
    let outside = one("torch\nFloatStorage", 4, &[5], &[1]);
    says(&sae.said(&outside), &["reaches beyond its storage of 4"]);
    says(
        &sae.said(&one("torch\nQInt8Storage", 4, &[4], &[1])),
        &["`torch.QInt8Storage`"],
    );
    let global = |name: &str| {
        let named = format!("ctorch._utils\n{name}\n.");
        [b"\x80\x02", named.as_bytes()].concat()
    };
    says(
        &sae.said(&global("_rebuild_sparse_tensor")),
        &["a sparse tensor"],
    );
    says(
        &sae.said(&global("_rebuild_qtensor")),
        &["a quantised tensor"],
    );
    sae.write(&sound, &[("byteorder", b"big")], CompressionMethod::Stored);
    says(&sae.refused(), &["byte order `big`", "read is `little`"]);
    sae.write(
        &sound,
        &[("constants.pkl", b"\x80\x02).")],
        CompressionMethod::Stored,
    );
    says(&sae.refused(), &["a TorchScript program"]);
}

/// Where some bytes are in a file.
fn place(file: &Path, bytes: &[u8]) -> usize {
    let all = fs::read(file).unwrap();
    let mut windows = all.windows(bytes.len());
    windows.position(|window| window == bytes).unwrap()
}

/// Row 29: one flipped bit. The checksum finds it and the message names the tensor, or the list of
/// tensors; a cut file is said to be cut.
#[test]
fn row_29_a_flipped_byte() {
    let sae = TorchSae::new();
    let write = || sae.write(&sae.sound(), &[], CompressionMethod::Stored);
    let flip = |at: usize| {
        let mut bytes = fs::read(&sae.file).unwrap();
        bytes[at] ^= 0x10;
        fs::write(&sae.file, bytes).unwrap();
    };
    for tensor in &sae.tensors {
        write();
        flip(place(&sae.file, &tensor.bytes[..64]) + 33);
        let named = format!("tensor `{}`", tensor.name);
        says(&sae.refused(), &[&named, "check sum (CRC) is wrong"]);
    }
    write();
    flip(place(&sae.file, b"BFloat16Storage"));
    says(
        &sae.refused(),
        &["the list of tensors", "check sum (CRC) is wrong"],
    );
    write();
    let whole = fs::read(&sae.file).unwrap();
    fs::write(&sae.file, &whole[..whole.len() - 100]).unwrap();
    says(
        &sae.refused(),
        &["damaged or cut short", "download it again"],
    );
    // Weights that are not finite are found here too.
    let mut sae = TorchSae::new();
    sae.tensors[1].bytes[10..12].copy_from_slice(&0x7fc0_u16.to_le_bytes());
    says(
        &sae.said(&sae.sound()),
        &["`encoder.bias`", "1 NaN or infinite"],
    );
}
