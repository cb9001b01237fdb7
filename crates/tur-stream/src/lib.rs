//! A download that is read, and sought in, while it arrives.
//!
//! [`Media`] is the download; any number of readers share it, on any thread, with a runtime or without one:
//!
//! ```no_run
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::io::{Read, Seek, SeekFrom};
//! use tur_engine::Downloader;
//! use tur_stream::{Media, Options};
//!
//! let downloader = Downloader::builder().build()?;
//! let media = Media::open(&downloader, "https://example.org/film.mp4", Options::new().dir("films"));
//! let mut reader = media.reader();
//! let mut index = [0; 4096];
//! reader.seek(SeekFrom::End(-4096))?;
//! reader.read_exact(&mut index)?; // These bytes come first; the rest follows behind.
//! # Ok(())
//! # }
//! ```
//!
//! A read waits for the bytes it returns and for nothing else: not for a position, and not for those before it. A hole is
//! never read as zeros, an end that is not the end of the file is none, and bytes of two versions of a file are never
//! joined: a reader that has read of the old one is told, with an error. What has come survives this process, and opening
//! the same place again goes on with it.
#![forbid(unsafe_code)]

mod async_reader;
mod cache;
mod cursor;
mod error;
mod interrupt;
mod live;
mod media;
mod options;
mod reader;
mod ring;
#[cfg(feature = "serve")]
pub mod serve;
mod views;

pub use async_reader::AsyncReader;
pub use cache::{Cache, CacheError, Quota, Usage};
pub use error::ReadError;
pub use interrupt::Interrupt;
pub use live::{Live, LiveReader};
pub use media::{Media, Ready};
pub use options::{Activity, Fill, Options, Place};
pub use reader::Reader;
pub use tur_engine::Status;
