use abi_stable::{StableAbi, std_types::RSlice};

/// Element type with DLPack's codes (`DLDataTypeCode`, bits, lanes).
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct DType {
    /// DLPack type code: 0 int, 1 uint, 2 float, 4 bfloat, 6 bool.
    pub code: u8,
    /// How many bits a single number takes.
    pub bits: u8,
    /// Vector lanes; always 1 here.
    pub lanes: u16,
}

impl DType {
    /// 32-bit IEEE float.
    pub const F32: Self = Self::new(2, 32);
    /// 64-bit IEEE float.
    pub const F64: Self = Self::new(2, 64);
    /// 16-bit IEEE float.
    pub const F16: Self = Self::new(2, 16);
    /// 16-bit brain float.
    pub const BF16: Self = Self::new(4, 16);
    /// 64-bit signed integer.
    pub const I64: Self = Self::new(0, 64);
    /// 32-bit signed integer.
    pub const I32: Self = Self::new(0, 32);
    /// 8-bit unsigned integer; masks are 0 or 1.
    pub const U8: Self = Self::new(1, 8);

    const fn new(code: u8, bits: u8) -> Self {
        Self {
            code,
            bits,
            lanes: 1,
        }
    }

    /// Bytes of one element.
    #[must_use]
    pub const fn size(self) -> usize {
        (self.bits as usize).div_ceil(8) * self.lanes as usize
    }
}

/// Device with DLPack's kinds.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// 1 CPU, 2 CUDA.
    pub kind: i32,
    /// Which of them; 0 on the CPU.
    pub index: i32,
}

impl Device {
    /// The host's memory.
    pub const CPU: Self = Self { kind: 1, index: 0 };

    /// CUDA device `index`.
    #[must_use]
    pub const fn cuda(index: i32) -> Self {
        Self { kind: 2, index }
    }
}

/// A borrowed, read-only, contiguous (row-major) tensor. Valid for the call only.
///
/// On a CUDA device `data` is a device pointer and all work is ordered on the default stream.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct TensorRef<'a> {
    /// First element; may be null when the tensor has no elements.
    pub data: *const u8,
    /// Says how the bytes at `data` are read.
    pub dtype: DType,
    /// Where `data` lives.
    pub device: Device,
    /// Extent of each dimension, outermost first.
    pub shape: RSlice<'a, i64>,
}

/// A borrowed, writable, contiguous (row-major) tensor. Valid for the call only.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct TensorMut<'a> {
    /// First element; may be null when the tensor has no elements.
    pub data: *mut u8,
    /// Says how the bytes at `data` are read.
    pub dtype: DType,
    /// Where `data` lives.
    pub device: Device,
    /// Extent of each dimension, outermost first.
    pub shape: RSlice<'a, i64>,
}
