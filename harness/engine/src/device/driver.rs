//! NVIDIA's driver, asked without libtorch: what the devices are, what memory they have, and why
//! none can be used.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW, Symbol};

use crate::plugin::causes;

/// The driver's library. It comes with the driver, never with libtorch.
const LIBRARY: &str = "libcuda.so.1";
/// Numbers of the attributes of a device that are asked for.
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;
/// Bytes for the name of a device.
const NAME_BYTES: usize = 256;

/// A version of CUDA, major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CudaVersion(pub u32, pub u32);

impl CudaVersion {
    /// Reads the number that CUDA's own functions give, such as 13000 or 12040.
    #[must_use]
    pub fn of(number: i64) -> Option<CudaVersion> {
        let number = u32::try_from(number).ok().filter(|number| *number > 0)?;
        Some(CudaVersion(number / 1000, number % 1000 / 10))
    }
}

impl std::fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Bytes of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// In all.
    pub total: u64,
    /// Not taken by any process.
    pub free: u64,
}

/// The driver, started.
#[derive(Debug)]
pub struct Driver {
    library: Library,
}

impl Driver {
    /// Opens and starts it.
    ///
    /// # Errors
    /// Why there is none, or why it does not start, in a sentence.
    pub fn open() -> Result<Driver, String> {
        // SAFETY: this runs the constructors of the library that the driver's own installation has
        // put where the system looks.
        let library = unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| format!("this machine has no NVIDIA driver: {}", causes(&error)))?;
        let driver = Driver { library };
        let init: Symbol<unsafe extern "C" fn(c_uint) -> c_int> = driver.function("cuInit")?;
        // SAFETY: `cuInit` takes flags, which must be 0.
        let code = unsafe { init(0) };
        driver
            .check(code)
            .map_err(|why| format!("the NVIDIA driver does not start: {why}"))?;
        Ok(driver)
    }

    /// The newest CUDA that it supports.
    ///
    /// # Errors
    /// The driver's own.
    pub fn cuda(&self) -> Result<CudaVersion, String> {
        let version = self.number("cuDriverGetVersion")?;
        CudaVersion::of(i64::from(version))
            .ok_or_else(|| format!("the driver gives {version} as the version of its CUDA"))
    }

    /// Devices that this process sees.
    ///
    /// # Errors
    /// The driver's own.
    pub fn count(&self) -> Result<u32, String> {
        let count = self.number("cuDeviceGetCount")?;
        u32::try_from(count).map_err(|_| format!("the driver counts {count} devices"))
    }

    /// What the maker calls a device.
    ///
    /// # Errors
    /// The driver's own, for example that there is no such device.
    pub fn name(&self, index: u32) -> Result<String, String> {
        let device = self.device(index)?;
        let get: Symbol<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int> =
            self.function("cuDeviceGetName")?;
        let mut name = [0u8; NAME_BYTES];
        // SAFETY: at most so many bytes are written as the buffer has, the last a zero.
        let code = unsafe { get(name.as_mut_ptr().cast(), NAME_BYTES as c_int, device) };
        self.check(code)?;
        let name = CStr::from_bytes_until_nul(&name).map_err(|error| error.to_string())?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// Compute capability of a device, such as `9.0`.
    ///
    /// # Errors
    /// As [`Driver::name`].
    pub fn compute_capability(&self, index: u32) -> Result<String, String> {
        let device = self.device(index)?;
        let get: Symbol<unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int> =
            self.function("cuDeviceGetAttribute")?;
        let attribute = |number| {
            let mut value = 0;
            // SAFETY: one number is written to the place given.
            let code = unsafe { get(&raw mut value, number, device) };
            self.check(code).map(|()| value)
        };
        let (major, minor) = (attribute(CAPABILITY_MAJOR)?, attribute(CAPABILITY_MINOR)?);
        Ok(format!("{major}.{minor}"))
    }

    /// Memory of a device, as it is now. What libtorch's allocator keeps for later counts as taken.
    ///
    /// # Errors
    /// As [`Driver::name`].
    pub fn memory(&self, index: u32) -> Result<DeviceMemory, String> {
        type Context = *mut c_void;
        let device = self.device(index)?;
        let retain: Symbol<unsafe extern "C" fn(*mut Context, c_int) -> c_int> =
            self.function("cuDevicePrimaryCtxRetain")?;
        let release: Symbol<unsafe extern "C" fn(c_int) -> c_int> =
            self.function("cuDevicePrimaryCtxRelease_v2")?;
        let push: Symbol<unsafe extern "C" fn(Context) -> c_int> =
            self.function("cuCtxPushCurrent_v2")?;
        let pop: Symbol<unsafe extern "C" fn(*mut Context) -> c_int> =
            self.function("cuCtxPopCurrent_v2")?;
        let info: Symbol<unsafe extern "C" fn(*mut usize, *mut usize) -> c_int> =
            self.function("cuMemGetInfo_v2")?;
        let mut context: Context = std::ptr::null_mut();
        let (mut free, mut total) = (0, 0);
        // SAFETY: the primary context is the one that libtorch uses too. It is held from `retain`
        // to `release`, and the thread's own context is current again after `pop`. Each function
        // writes to the places given and nowhere else.
        let asked = unsafe {
            self.check(retain(&raw mut context, device))?;
            let asked = self.check(push(context)).and_then(|()| {
                let asked = self.check(info(&raw mut free, &raw mut total));
                self.check(pop(&raw mut context)).and(asked)
            });
            self.check(release(device)).and(asked)
        };
        asked.map(|()| DeviceMemory {
            total: total as u64,
            free: free as u64,
        })
    }

    /// The driver's handle of a device.
    fn device(&self, index: u32) -> Result<c_int, String> {
        let get: Symbol<unsafe extern "C" fn(*mut c_int, c_int) -> c_int> =
            self.function("cuDeviceGet")?;
        let ordinal = c_int::try_from(index).map_err(|error| error.to_string())?;
        let mut device = 0;
        // SAFETY: one number is written to the place given.
        let code = unsafe { get(&raw mut device, ordinal) };
        self.check(code).map(|()| device)
    }

    /// What a function that gives one number gives.
    fn number(&self, function: &str) -> Result<c_int, String> {
        let get: Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> = self.function(function)?;
        let mut number = 0;
        // SAFETY: the functions that are asked by this name write one number to the place given.
        let code = unsafe { get(&raw mut number) };
        self.check(code).map(|()| number)
    }

    /// A function of the driver. Its type is what the driver's interface says of the name.
    fn function<F>(&self, name: &str) -> Result<Symbol<F>, String> {
        // SAFETY: every caller gives the type that CUDA's driver interface documents for the name.
        unsafe { self.library.get(name) }.map_err(|error| {
            format!(
                "the NVIDIA driver has no function {name}: {}",
                causes(&error)
            )
        })
    }

    /// An error code as the driver itself says it.
    fn check(&self, code: c_int) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        let text = |function| {
            let get: Symbol<unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int> =
                self.function(function).ok()?;
            let mut text: *const c_char = std::ptr::null();
            // SAFETY: a pointer to a constant text is written to the place given, or null.
            let text = unsafe {
                get(code, &raw mut text);
                (!text.is_null()).then(|| CStr::from_ptr(text))
            };
            Some(text?.to_string_lossy().into_owned())
        };
        Err(match (text("cuGetErrorName"), text("cuGetErrorString")) {
            (Some(name), Some(words)) => format!("{name} ({words})"),
            (Some(name), None) => name,
            _ => format!("error {code}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_cuda_read() {
        assert_eq!(CudaVersion::of(13000), Some(CudaVersion(13, 0)));
        assert_eq!(CudaVersion::of(12040).unwrap().to_string(), "12.4");
        assert_eq!((CudaVersion::of(0), CudaVersion::of(-1)), (None, None));
        assert!(CudaVersion(12, 8) < CudaVersion(13, 0));
    }

    /// On machines without a GPU the reason is given; with one it is described.
    #[test]
    fn the_driver_answers_or_says_why_not() {
        match Driver::open() {
            Err(why) => assert!(why.contains("NVIDIA driver"), "{why}"),
            Ok(driver) => {
                assert!(driver.cuda().unwrap() >= CudaVersion(11, 0));
                assert!(driver.name(0).unwrap().len() > 2);
                assert!(driver.compute_capability(0).unwrap().contains('.'));
                let memory = driver.memory(0).unwrap();
                assert!(memory.free <= memory.total && memory.total > 1 << 30);
                assert!(driver.name(10_000).unwrap_err().contains("CUDA_ERROR"));
            }
        }
    }
}
