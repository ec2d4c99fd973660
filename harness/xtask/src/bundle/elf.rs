//! What a program or library needs of the machine it will run on, read from its ELF file.
//!
//! Only 64-bit little-endian files are read, which is what Linux on x86-64 has.

use anyhow::{Context, Result, bail};

const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const SECTION_DYNAMIC: u32 = 6;
const SECTION_VERSIONS_NEEDED: u32 = 0x6fff_fffe;
const TAG_END: u64 = 0;
const TAG_NEEDED: u64 = 1;
const TAG_RUNPATH: u64 = 29;

pub struct Elf<'a> {
    bytes: &'a [u8],
    sections: Vec<Section>,
}

struct Section {
    kind: u32,
    start: usize,
    size: usize,
    /// The section with the names that this one refers to.
    link: usize,
}

impl<'a> Elf<'a> {
    /// Reads the table of sections.
    ///
    /// # Errors
    /// When the file is no 64-bit little-endian ELF file, or is cut.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            bail!("it is no 64-bit little-endian ELF file");
        }
        let table = to_usize(u64_at(bytes, 0x28)?)?;
        let (entry, count) = (u16_at(bytes, 0x3a)?, u16_at(bytes, 0x3c)?);
        let sections = (0..usize::from(count))
            .map(|index| {
                let at = offset(table, index * usize::from(entry))?;
                Ok(Section {
                    kind: u32_at(bytes, offset(at, 4)?)?,
                    start: to_usize(u64_at(bytes, offset(at, 0x18)?)?)?,
                    size: to_usize(u64_at(bytes, offset(at, 0x20)?)?)?,
                    link: to_usize(u32_at(bytes, offset(at, 0x28)?)?.into())?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { bytes, sections })
    }

    /// The libraries that the loader must find.
    ///
    /// # Errors
    /// When the file is cut.
    pub fn needed(&self) -> Result<Vec<&'a str>> {
        let places = self.dynamic(TAG_NEEDED)?;
        places.into_iter().map(|at| self.text(at)).collect()
    }

    /// Where the folders in which the loader looks first are written, and what they are.
    ///
    /// # Errors
    /// When the file is cut.
    pub fn runpath(&self) -> Result<Option<(usize, &'a str)>> {
        match self.dynamic(TAG_RUNPATH)?.first() {
            Some(at) => Ok(Some((*at, self.text(*at)?))),
            None => Ok(None),
        }
    }

    /// The versions of symbols that libraries must have, such as `GLIBC_2.34`.
    ///
    /// # Errors
    /// When the file is cut.
    pub fn versions(&self) -> Result<Vec<&'a str>> {
        let mut versions = Vec::new();
        for section in &self.sections {
            if section.kind != SECTION_VERSIONS_NEEDED {
                continue;
            }
            let names = self.names_of(section)?;
            let mut library = section.start;
            loop {
                let count = u16_at(self.bytes, offset(library, 2)?)?;
                let first = u32_at(self.bytes, offset(library, 8)?)?;
                let mut at = offset(library, to_usize(first.into())?)?;
                for _ in 0..count {
                    let name = u32_at(self.bytes, offset(at, 8)?)?;
                    versions.push(self.text(offset(names, to_usize(name.into())?)?)?);
                    at = offset(at, to_usize(u32_at(self.bytes, offset(at, 12)?)?.into())?)?;
                }
                match u32_at(self.bytes, offset(library, 12)?)? {
                    0 => break,
                    next => library = offset(library, to_usize(next.into())?)?,
                }
            }
        }
        Ok(versions)
    }

    /// Where the texts of all dynamic entries with this tag are.
    fn dynamic(&self, tag: u64) -> Result<Vec<usize>> {
        let mut places = Vec::new();
        for section in &self.sections {
            if section.kind != SECTION_DYNAMIC {
                continue;
            }
            let names = self.names_of(section)?;
            for index in 0..section.size / 16 {
                let at = offset(section.start, index * 16)?;
                match u64_at(self.bytes, at)? {
                    TAG_END => break,
                    found if found == tag => {
                        let name = to_usize(u64_at(self.bytes, offset(at, 8)?)?)?;
                        places.push(offset(names, name)?);
                    }
                    _ => {}
                }
            }
        }
        Ok(places)
    }

    fn names_of(&self, section: &Section) -> Result<usize> {
        let names = self.sections.get(section.link).context(CUT)?;
        Ok(names.start)
    }

    fn text(&self, at: usize) -> Result<&'a str> {
        let rest = self.bytes.get(at..).context(CUT)?;
        let end = rest.iter().position(|byte| *byte == 0).context(CUT)?;
        std::str::from_utf8(&rest[..end]).context("a name in it is no UTF-8")
    }
}

const CUT: &str = "it is cut: a table points beyond its end";

fn offset(start: usize, more: usize) -> Result<usize> {
    start.checked_add(more).context(CUT)
}

fn to_usize(number: u64) -> Result<usize> {
    usize::try_from(number).context(CUT)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    found.copied().context(CUT)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn this_test_program_says_what_it_needs() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = Elf::read(&bytes).unwrap();
        assert!(elf.needed().unwrap().contains(&"libc.so.6"));
        let versions = elf.versions().unwrap();
        assert!(
            versions.iter().any(|v| v.starts_with("GLIBC_2.")),
            "{versions:?}"
        );
    }

    #[test]
    fn cut_and_foreign_files_are_refused() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let message = |bytes: &[u8]| Elf::read(bytes).err().map(|error| error.to_string());
        assert!(message(b"#!/bin/sh").unwrap().contains("no 64-bit"));
        assert!(message(&bytes[..32]).unwrap().contains("cut"));
        assert!(message(&bytes[..bytes.len() / 2]).unwrap().contains("cut"));
    }
}
